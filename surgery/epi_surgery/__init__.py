"""Attention-head surgery on GGUF models: rank, plan, cut, prove."""

__version__ = "0.1.0"
