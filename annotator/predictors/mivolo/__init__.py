"""MiVOLO, the age and gender model of face and body crops: architecture, checkpoints, predictor."""

from annotator.predictors.mivolo.checkpoint import load_model

__all__ = ["load_model"]
