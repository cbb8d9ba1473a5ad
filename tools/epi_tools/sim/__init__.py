"""The simulator: the real firmware under a real MicroPython, on chip models fed by a plant."""
