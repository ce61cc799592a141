"""How old they look, and which gender is perceived."""
