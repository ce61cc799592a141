"""MiVOLO from datasets: face first, then face and body."""
