"""The scripts that trained the demo weights: ``python -m annotator.demo.train``."""
