"""Counters made of bytes, against ordinary integers."""

from bench import Clock
from expect import Noise

from epi_protocol.ticks import Ticks64, add_into


def value(buf):
    return int.from_bytes(buf, "little")


def test_add_into_carries_through_all_bytes():
    buf = bytearray(b"\xff\xff\xff\xff\xff\x00\x00\x00")
    add_into(buf, 0, 8, 1)
    assert buf == b"\x00\x00\x00\x00\x00\x01\x00\x00"


def test_add_into_wraps_at_its_width_and_touches_nothing_else():
    buf = bytearray(b"\xaa\xff\xff\xbb")
    add_into(buf, 1, 2, 3)
    assert buf == b"\xaa\x02\x00\xbb"


def test_add_into_equals_integer_addition():
    noise, buf, total = Noise(11), bytearray(8), 0
    for _ in range(300):
        amount = noise.below(65536) * (1 if noise.below(2) else 8191)
        add_into(buf, 0, 8, amount)
        total += amount
    assert value(buf) == total


def test_time_starts_at_zero_and_survives_the_wrap():
    clock = Clock((1 << 30) - 1000)
    ticks64 = Ticks64(clock.ticks_us, clock.ticks_diff)
    ticks64.update()
    assert value(ticks64.bytes) == 0
    for step in (999, 1, 1, 500_000_000, 500_000_000, 500_000_000):
        before = value(ticks64.bytes)
        clock.sleep_us(step)
        assert ticks64.update() == clock.now
        assert value(ticks64.bytes) == before + step


def test_time_never_runs_backwards():
    clock = Clock(5000)
    ticks64 = Ticks64(clock.ticks_us, clock.ticks_diff)
    clock.now = 4000
    ticks64.update()
    assert value(ticks64.bytes) == 0
    clock.now = 5100
    ticks64.update()
    assert value(ticks64.bytes) == 100


def test_copy_into_places_eight_bytes():
    clock = Clock()
    ticks64 = Ticks64(clock.ticks_us, clock.ticks_diff)
    clock.sleep_us(0x1234567)
    ticks64.update()
    buf = bytearray(b"\xee" * 10)
    ticks64.copy_into(buf, 1)
    assert buf == b"\xee\x67\x45\x23\x01\0\0\0\0\xee"
