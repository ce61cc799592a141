"""MiVOLO: age and gender from face and body crops."""
