"""Datasets become better models."""
