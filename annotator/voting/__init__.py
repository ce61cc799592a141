"""Human votes become labels, each vote weighted by how good its annotator is."""
