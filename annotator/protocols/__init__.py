"""The benchmarks of the field: what they consist of, how their folders are read and checked, who is in them."""
