"""Running predictors on a benchmark, with nothing asked twice."""
