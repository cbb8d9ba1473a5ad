"""What a model can still do: minimal pairs, perplexity and divergence, on PyTorch and on llama.cpp alike. No torch on import."""
