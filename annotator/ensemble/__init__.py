"""Several opinions become one, with an honest uncertainty, and a verdict on who needs a human."""
