"""Metrics and published figures."""
