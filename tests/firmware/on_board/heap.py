"""Runs in a MicroPython: what the firmware itself occupies. Prints one line of JSON; `python` is the bare interpreter."""

import gc
import json

gc.collect()
PYTHON = gc.mem_alloc()

from epi_firmware import config, description  # noqa: E402 - measured import by import
from epi_firmware.app import Meter  # noqa: E402

gc.collect()
CODE = gc.mem_alloc() - PYTHON


class Nothing:
    """Bus, pin, line and clock in one, doing nothing: only the firmware counts here."""

    chunk = 64

    def __init__(self):
        self.now = 0

    def ticks_us(self):
        return self.now

    def ticks_add(self, ticks, delta):
        return ticks + delta

    def ticks_diff(self, end, start):
        return end - start

    def sleep_us(self, us):
        self.now += us

    def on(self):
        pass

    def off(self):
        pass

    def write_readinto(self, tx, rx):
        pass

    def readable(self, timeout_ms):
        self.now += timeout_ms * 1000
        return False

    def writable(self):
        return True

    def write(self, buf, start, n):
        return n


def main():
    nothing = Nothing()
    settings = config.load("there-is-no-such.json")[0]
    hello = description.hello_payload(b"BOOT", "e661", "1.28.0", "bench", True, settings)
    meter = Meter(nothing, [nothing] * 4, nothing, nothing, settings, b"BOOT", hello)
    gc.collect()
    used = gc.mem_alloc()
    for _ in range(1000):
        meter.turn()
    gc.collect()
    print(json.dumps({"python": PYTHON, "code": CODE, "objects": used - CODE - PYTHON, "used": used, "free": gc.mem_free()}))


main()
