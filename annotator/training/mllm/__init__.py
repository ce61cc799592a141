"""LLaVA-type models from datasets: the recipe of arXiv 2403.02302."""
