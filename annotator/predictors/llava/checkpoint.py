"""LLaVA checkpoints on disk: strict loading, and saving in the names that llava-hf checkpoints have.

transformers 5 has its own names in memory and writes them when a model was built in memory; older transformers, vLLM
and SGLang then load such a folder with a random vision tower and only a warning. So everything here writes the names
of the published ``llava-hf`` checkpoints, which all of them read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from annotator.errors import UnknownName, WeightsInvalid
from annotator.predictors.llava.processor_files import CHAT_TEMPLATES, write_json, write_processor_files
from annotator.predictors.llava.quantisation import check_quantised, quantisation_config
from annotator.predictors.weights import weight_files

MODEL_TYPES = ("llava", "llava_next")

_DISK_PREFIXES = (
    ("model.vision_tower.vision_model.", "vision_tower.vision_model."),
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("model.language_model.", "language_model.model."),
    ("model.image_newline", "image_newline"),
    ("lm_head.", "language_model.lm_head."),
)


def disk_name(name: str) -> str:
    """The llava-hf on-disk name of a parameter as transformers 5 names it in memory.

    >>> disk_name("model.vision_tower.pre_layrnorm.bias")
    'vision_tower.vision_model.pre_layrnorm.bias'
    """
    for memory, disk in _DISK_PREFIXES:
        if name.startswith(memory):
            return disk + name[len(memory) :]
    raise WeightsInvalid(f"'{name}' is no parameter of a LLaVA model")


def save_llava(
    model: Any,
    tokenizer: Any,
    folder: Path | str,
    dtype: torch.dtype | None = None,
    template: str = "vicuna_v1",
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a LLaVA or LLaVA-NeXT model and its tokenizer as a folder that :func:`load_llava` reads.

    ``dtype`` is the precision of the tensors on disk, by default the one they have; ``template`` the conversation that
    the model was trained on, one of those that have a chat template. ``state`` is all of its weights where the model
    holds but a part of them, as in training on several devices. Layout: config.json,
    generation_config.json, model.safetensors (or shards with their index), tokenizer files, preprocessor_config.json,
    processor_config.json, chat_template.jinja.

    Raises:
        WeightsInvalid: the model is quantised: its tensors have other names and, once it has run, other contents.
        UnknownName: there is no chat template of that name.
    """
    if template not in CHAT_TEMPLATES:
        raise UnknownName("chat template", template, list(CHAT_TEMPLATES))
    if getattr(model, "is_quantized", False):
        raise WeightsInvalid("a quantised model cannot be saved in this layout; save the weights it was loaded from")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tied = bool(model.config.tie_word_embeddings)
    for stale in folder.glob("model*.safetensors*"):
        stale.unlink()
    named = ((disk_name(name), tensor) for name, tensor in (state or model.state_dict()).items())
    kept = ((name, tensor) for name, tensor in named if not (tied and name == "language_model.lm_head.weight"))
    write_shards(((name, tensor.to(dtype or tensor.dtype)) for name, tensor in kept), folder)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_processor_files(folder, model.config, template)


def write_shards(tensors: Iterable[tuple[str, torch.Tensor]], folder: Path, shard_bytes: int = 4_000_000_000) -> None:
    """Write tensors as they come, at most ``shard_bytes`` of them in memory, with the index that transformers reads.

    One shard is ``model.safetensors``; several are ``model-00001-of-0000N.safetensors`` and an index.
    """
    shards: list[Path] = []
    places: dict[str, int] = {}
    total = 0
    for number, shard in enumerate(_fill(tensors, shard_bytes)):
        path = folder / f"shard-{number:05d}.safetensors.part"
        save_file(shard, path, metadata={"format": "pt"})
        shards.append(path)
        places.update(dict.fromkeys(shard, number))
        total += sum(tensor.nbytes for tensor in shard.values())
    names = _shard_names(len(shards))
    for path, name in zip(shards, names, strict=True):
        path.replace(folder / name)
    if len(names) > 1:
        weight_map = {name: names[number] for name, number in sorted(places.items())}
        content = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", content)


def _fill(tensors: Iterable[tuple[str, torch.Tensor]], shard_bytes: int) -> Iterator[dict[str, torch.Tensor]]:
    shard: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > shard_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = _own(tensor.detach().cpu().contiguous())
        size += tensor.nbytes
    if shard:
        yield shard


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that shares no memory with others, as safetensors demands."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _shard_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def load_llava(
    folder: Path | str,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    quantisation: str | None = None,
    device_map: str | Mapping[str, int | str] | None = None,
) -> Any:
    """The model of a llava-hf folder in eval mode; every key must fit.

    ``quantisation`` is that of the language model, see :func:`quantisation_config`; a folder that holds quantised
    weights needs none. ``device_map`` spreads the model over devices, as transformers and accelerate understand it.

    Raises:
        WeightsMissing: there is no such folder or no weights in it.
        WeightsInvalid: a key is missing, unexpected or of another shape, or a file is broken.
        ConfigurationError: quantisation is unknown or bitsandbytes is not installed.
    """
    folder = Path(folder)
    weight_files(folder)
    _check_kind(folder)
    is_placed = quantisation is not None or device_map is not None or _is_quantised(folder)
    options: dict[str, Any] = {"device_map": device_map or {"": device}} if is_placed else {}
    if quantisation is not None:
        options["quantization_config"] = quantisation_config(quantisation, dtype)
    model = _load_strictly(folder, dtype=dtype, **options)
    if getattr(model, "is_quantized", False):
        check_quantised(model, str(folder))
    return model.eval() if is_placed else model.to(device).eval()


def _load_strictly(folder: Path, **options: Any) -> Any:
    from transformers import AutoModelForImageTextToText

    try:
        with _no_progress_bar():
            model, report = AutoModelForImageTextToText.from_pretrained(
                folder, output_loading_info=True, local_files_only=True, use_safetensors=True, **options
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise WeightsInvalid(f"{folder} does not load as a LLaVA model: {str(error).splitlines()[0]}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if report.get(kind):
            first = sorted(map(str, report[kind]))[0]
            raise WeightsInvalid(f"{folder}: {len(report[kind])} {kind.replace('_', ' ')}, the first is {first}")
    return model


def _is_quantised(folder: Path) -> bool:
    return "quantization_config" in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _check_kind(folder: Path) -> None:
    """Refuse other models before transformers fills a full-sized one of the expected kind with random numbers."""
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsInvalid(f"{folder} has no readable config.json: {error}") from error
    if kind not in MODEL_TYPES:
        raise WeightsInvalid(
            f"{folder} holds a model of type '{kind}', not {' or '.join(MODEL_TYPES)}; see `annotator models convert`"
        )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading without a bar on stderr: what is shown to people is shown by the command line."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_tokenizer(folder: Path | str) -> Any:
    """The tokenizer of a llava-hf folder (``tokenizer.json`` or a SentencePiece ``tokenizer.model``).

    Raises:
        WeightsInvalid: it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsInvalid(f"{folder} has no usable tokenizer: {str(error).splitlines()[0]}") from error
