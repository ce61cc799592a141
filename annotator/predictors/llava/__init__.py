"""LLaVA and ShareGPT4V: age and gender by asking a multimodal LLM."""
