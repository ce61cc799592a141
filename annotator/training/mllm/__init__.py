"""LLaVA-type models from datasets: the recipe of arXiv 2403.02302."""

import logging

for _name in ("bitsandbytes.backends.cpu.ops", "transformers.trainer_utils"):
    # on import and on every start they warn of speed-ups that nobody asked for
    logging.getLogger(_name).setLevel(logging.ERROR)
