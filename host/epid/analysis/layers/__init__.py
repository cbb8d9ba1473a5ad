"""Joules of each layer: the design, whether it can tell layers apart, and the regression."""
