"""Calibration of a meter's channels against a reference: measure, compute registers, store, read back, measure again."""
