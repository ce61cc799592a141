"""Multimodal LLMs behind an OpenAI-compatible server: ChatGPT, or a vLLM / SGLang of one's own."""
