"""`time` as on an RP2350: ticks of 30 bits that start at the boot, and short sleeps that are exact."""

# mypy: ignore-errors

import os

import utime
from utime import *  # noqa: F403 - everything the board has

_PERIOD = 1 << 30
_HALF = 1 << 29
_MASK = _PERIOD - 1
_SPIN_US = 200  # Linux rounds a shorter sleep up by its timer slack

_START_US = utime.ticks_us() - int(os.getenv("EPI_SIM_TICKS_US") or 0)
_START_MS = utime.ticks_ms()


def ticks_us():
    return (utime.ticks_us() - _START_US) & _MASK


def ticks_ms():
    return (utime.ticks_ms() - _START_MS) & _MASK


def ticks_add(ticks, delta):
    return (ticks + delta) & _MASK


def ticks_diff(end, start):
    return ((end - start + _HALF) & _MASK) - _HALF


def sleep_ms(ms):
    """Never short; the unix port's own may end up to a millisecond early."""
    sleep_us(ms * 1000)


def sleep_us(us):
    end = utime.ticks_us() + us
    if us > _SPIN_US:
        utime.sleep_us(us)
    while utime.ticks_us() < end:
        pass
