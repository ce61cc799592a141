"""Human votes become labels, each vote weighted by how good its annotator is."""

from annotator.voting.aggregation import AGE_METHODS, GENDER_METHODS, aggregate
from annotator.voting.tables import AnnotatorColumns, Consensus, ControlTable, VoteTable

__all__ = ["AGE_METHODS", "GENDER_METHODS", "AnnotatorColumns", "Consensus", "ControlTable", "VoteTable", "aggregate"]
