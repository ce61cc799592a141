"""The ensemble: several predictors' opinions become one, with an interval, an expected error and a verdict."""
