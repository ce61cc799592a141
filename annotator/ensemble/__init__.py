"""The ensemble: several predictors' opinions become one, with an interval, an expected error and a verdict."""

from annotator.ensemble.codec import fit_from_dict, fit_to_dict
from annotator.ensemble.fitting import cross_fuse, fit
from annotator.ensemble.fusion import fuse
from annotator.ensemble.model import Fit
from annotator.ensemble.verdicts import triage

__all__ = ["Fit", "cross_fuse", "fit", "fit_from_dict", "fit_to_dict", "fuse", "triage"]
