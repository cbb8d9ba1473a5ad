"""The meter: MicroPython on an RP2350 or RP2040 that reads four ATM90E26 energy chips and streams what they say.

Only `board` touches the hardware; every other module takes its bus, pins, line and clock as arguments, so the same files run
under CPython on a chip model.
"""

VERSION = "0.1.0"
"""Version of the firmware, told to the host in HELLO."""
