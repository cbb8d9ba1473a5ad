"""A `machine` without any chip, for the boot of the board's own main.py under a unix MicroPython."""

SIMULATED = True


def unique_id():
    return b"\xe6\x61\x00\x03"


class Pin:
    OUT = 1

    def __init__(self, number, mode=0, value=0):
        self.number = number

    def on(self):
        pass

    def off(self):
        pass


class SPI:
    def __init__(self, number, baudrate=0, polarity=0, phase=0, bits=0, sck=None, mosi=None, miso=None):
        assert (number, baudrate, polarity, phase, bits) == (0, 125_000, 1, 1, 8)
        assert (sck.number, mosi.number, miso.number) == (18, 19, 16)

    def write_readinto(self, tx, rx):
        rx[0] = rx[1] = rx[2] = 0xFF


class Timer:
    """Calls back once, at once: no test waits for a timer."""

    PERIODIC = 1

    def __init__(self, number, mode=0, period=0, callback=None):
        assert (number, mode, period) == (-1, self.PERIODIC, 2000)
        callback(self)
