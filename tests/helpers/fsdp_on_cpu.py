"""The command line with FSDP among processes without GPUs, which torch can do and accelerate does not offer.

accelerate shares weights out only among devices of which it knows that they can; two processes on a CPU, taken for such
devices, run the same code.
"""

from __future__ import annotations

import os
from typing import Any

import accelerate.state
from accelerate.utils import DistributedType

from annotator.cli import main

CONFIGURATION = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer,CLIPEncoderLayer",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}
"""What `accelerate launch --config_file fsdp-7b.yaml` puts into the environment."""


def pretend() -> None:
    """Have several processes on a CPU taken for several GPUs."""
    usual = accelerate.state.PartialState.__init__

    def renamed(self: Any, *args: Any, **options: Any) -> None:
        usual(self, *args, **options)
        if self.__dict__.get("distributed_type") == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    accelerate.state.PartialState.__init__ = renamed


if __name__ == "__main__":
    os.environ.update(CONFIGURATION)
    pretend()
    main()
