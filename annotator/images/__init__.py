"""From bytes to pixels and crops."""
