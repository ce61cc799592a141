"""Labels become datasets."""
