"""Drawn figures, and the tiny models that know nothing else."""
