"""What the meter's samples mean: registers and power joined into energy, its gain, its idle level."""
