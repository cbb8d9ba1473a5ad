"""Criteria that rank query heads by what a PyTorch model does on text; a low score leaves first."""
