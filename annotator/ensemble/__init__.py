"""The ensemble: several predictors' opinions become one, with an interval, an expected error and a verdict."""

from annotator.ensemble.fusion import fuse
from annotator.ensemble.verdicts import triage

__all__ = ["fuse", "triage"]
