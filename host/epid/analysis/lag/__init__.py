"""The chip's own averaging window and delay, found from a known load pattern or from the registers."""
