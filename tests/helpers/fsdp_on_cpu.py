"""The command line with FSDP among processes without GPUs, which torch can do and accelerate does not offer.

accelerate shares weights out only among devices of which it knows that they can; two processes on a CPU, taken for such
devices, run the same code.
"""

from __future__ import annotations

import os
from typing import Any

import accelerate.state
import yaml
from accelerate.utils import DistributedType

from annotator.cli import main
from annotator.training import configs

CONFIGURATION = next(path for path in configs() if path.stem == "fsdp-7b")
OTHER_NAMES = {"fsdp_transformer_layer_cls_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP"}


def configure() -> None:
    """Put into the environment what `accelerate launch --config_file fsdp-7b.yaml` would, unless it is there."""
    settings = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    for name, value in settings["fsdp_config"].items():
        os.environ.setdefault(OTHER_NAMES.get(name, name.upper()), str(value))


def pretend() -> None:
    """Have several processes on a CPU taken for several GPUs."""
    usual = accelerate.state.PartialState.__init__

    def renamed(self: Any, *args: Any, **options: Any) -> None:
        usual(self, *args, **options)
        if self.__dict__.get("distributed_type") == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    accelerate.state.PartialState.__init__ = renamed


if __name__ == "__main__":
    configure()
    pretend()
    main()
