"""LLaVA-type models from datasets: the recipe of arXiv 2403.02302."""

import logging

# on every import it tells of a faster kernel on CPUs that nobody asked for
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# checkpoints that are written within a second look like those of a disk without times; their numbers serve as well
logging.getLogger("transformers.trainer_utils").addFilter(lambda record: "mtime" not in record.getMessage())
