"""The files beside a LLaVA's weights by which other programs prepare pictures and prompts as the model was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator.predictors.llava.preprocess import CLIP_MEAN, CLIP_STD

_CONTENT = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}"
)

CHAT_TEMPLATE = (
    "{{ bos_token }}A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. {% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: " + _CONTENT + " "
    "{% elif message['role'] == 'assistant' %}ASSISTANT: "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""``vicuna_v1`` as a chat template, with the BOS, system text and EOS that llava-hf's own one lacks."""

CHAT_TEMPLATES = {
    "vicuna_v1": CHAT_TEMPLATE,
    "mistral": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] " + _CONTENT + " [/INST]"
        "{% elif message['role'] == 'assistant' %} " + _CONTENT + "{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "chatml": (
        "<|im_start|>system\nAnswer the questions.<|im_end|>"
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n" + _CONTENT + "<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
}
"""Chat templates by the names of our prompt templates."""


def write_processor_files(folder: Path, config: Any, template: str = "vicuna_v1") -> None:
    """Image processor, processor and chat template: pad to square (LLaVA-NeXT: tiles), and a prompt as in training."""
    is_tiled = config.model_type == "llava_next"
    kind = "LlavaNext" if is_tiled else "Llava"
    vision = config.vision_config
    image = {
        "image_processor_type": f"{kind}ImageProcessor",
        "do_pad": True,
        "do_resize": True,
        "size": {"shortest_edge": vision.image_size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": vision.image_size, "width": vision.image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
        "do_convert_rgb": True,
    }
    if is_tiled:
        image["image_grid_pinpoints"] = [list(grid) for grid in config.image_grid_pinpoints]
    processor = {
        "processor_class": f"{kind}Processor",
        "patch_size": vision.patch_size,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
        "num_additional_image_tokens": 1,
        "image_token": "<image>",
    }
    write_json(folder / "preprocessor_config.json", {**image, "processor_class": f"{kind}Processor"})
    write_json(folder / "processor_config.json", processor)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATES[template], encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """As transformers writes its own: indented, sorted."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
