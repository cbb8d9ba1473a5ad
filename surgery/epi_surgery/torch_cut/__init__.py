"""Cut models in PyTorch: attention with groups of any size, cutting a loaded model, checkpoints, and the proof. Imports torch."""
