"""Age and gender labels for person photos: pre-labelled by models, settled by people."""
