"""The HTTP door: what Label Studio calls an ML backend."""
