"""`machine` of the simulated board: the API of MicroPython's rp2 port, tunnelled to the chip models.

Edges of pins are kept and sent together with the next SPI transfer, each with the microseconds since the record before it,
so that the chips see every edge in order and at its time. A record is 5 bytes (operation, argument, microseconds) and may
carry bytes; operations are those of `tunnel.py`. Nothing here allocates once the objects exist.
"""

# mypy: ignore-errors

import _thread
import os

import utime
from micropython import const, schedule

SIMULATED = True
PWRON_RESET = 1
WDT_RESET = 3

_LOW = const(0)
_HIGH = const(1)
_TRANSFER = const(2)
_WRITE = const(3)
_SPI_SETUP = const(4)
_READ_PIN = const(5)
_RESET = const(6)
_FEED = const(7)
_WATCH = const(8)

_MAX_US = const(0xFFFFFF)
_SIZE = const(480)
_MAX_BYTES = const(255)
_NOWHERE = const(255)


class _Tunnel:
    """Outgoing records and the socket to the simulator."""

    def __init__(self, fd):
        self._socket = open(fd, "r+b")  # noqa: PTH123, SIM115 - a descriptor, held as long as the board has power
        self._out = bytearray(_SIZE)
        self._used = 0
        self._last_us = utime.ticks_us()

    def put(self, operation, argument):
        """Append one record; sent with the next flush."""
        if self._used > _SIZE - 5:
            self.flush()
        now_us = utime.ticks_us()
        delta_us = min(now_us - self._last_us, _MAX_US)
        self._last_us = now_us
        out = self._out
        used = self._used
        out[used] = operation
        out[used + 1] = argument
        out[used + 2] = delta_us & 0xFF
        out[used + 3] = delta_us >> 8 & 0xFF
        out[used + 4] = delta_us >> 16
        self._used = used + 5

    def put_bytes(self, operation, data, count, filler):
        """Append a record that carries `count` bytes: of `data`, or all `filler` where `data` is None."""
        if self._used > _SIZE - 5 - count:
            self.flush()
        self.put(operation, count)
        out = self._out
        used = self._used
        for index in range(count):
            out[used + index] = filler if data is None else data[index]
        self._used = used + count

    def flush(self):
        self._socket.write(self._out, self._used)
        self._used = 0

    def ask(self, answer):
        """Send everything and fill `answer` with the reply."""
        self.flush()
        self._socket.readinto(answer)


_tunnel = _Tunnel(int(os.getenv("EPI_SIM_FD")))


class Pin:
    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1
    PULL_DOWN = 2

    def __init__(self, id, mode=-1, pull=-1, value=None):
        self._wire = id if isinstance(id, int) else _NOWHERE
        self._level = 0
        self._answer = bytearray(1)
        self.init(mode, pull, value)

    def init(self, mode=-1, pull=-1, value=None):
        self._out = mode in (Pin.OUT, Pin.OPEN_DRAIN)
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return self._level if self._out else self._read()
        self._level = 1 if level else 0
        _tunnel.put(_HIGH if level else _LOW, self._wire)
        return None

    def _read(self):
        _tunnel.put(_READ_PIN, self._wire)
        _tunnel.ask(self._answer)
        return self._answer[0]

    def __call__(self, level=None):
        return self.value(level)

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    high = on
    low = off

    def toggle(self):
        self.value(1 - self._level)


class SPI:
    MSB = 0
    LSB = 1

    def __init__(self, id, baudrate=1000000, polarity=0, phase=0, bits=8, firstbit=0, sck=None, mosi=None, miso=None):
        self.init(baudrate, polarity, phase, bits, firstbit)

    def init(self, baudrate=1000000, polarity=0, phase=0, bits=8, firstbit=0):
        if bits != 8 or firstbit != SPI.MSB:
            raise NotImplementedError("the simulated SPI has 8 bits, most significant first")
        setup = baudrate.to_bytes(4, "little") + bytes((polarity, phase))
        _tunnel.put_bytes(_SPI_SETUP, setup, 6, 0)
        _tunnel.flush()

    def deinit(self):
        pass

    def write_readinto(self, write_buf, read_buf):
        if len(write_buf) != len(read_buf):
            raise ValueError("buffers must be the same length")
        self._transfer(write_buf, read_buf, 0)

    def readinto(self, buf, write=0):
        self._transfer(None, buf, write)

    def read(self, nbytes, write=0):
        buf = bytearray(nbytes)
        self._transfer(None, buf, write)
        return bytes(buf)

    def write(self, buf):
        if len(buf) > _MAX_BYTES:
            raise ValueError("the simulated SPI moves at most 255 bytes at once")
        _tunnel.put_bytes(_WRITE, buf, len(buf), 0)
        _tunnel.flush()

    def _transfer(self, out, answer, filler):
        if len(answer) > _MAX_BYTES:
            raise ValueError("the simulated SPI moves at most 255 bytes at once")
        _tunnel.put_bytes(_TRANSFER, out, len(answer), filler)
        _tunnel.ask(answer)


class Timer:
    """A thread counts, and has the callback run between two instructions of the program, as a board's soft timer does."""

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id=-1, **settings):
        self._round = 0
        if settings:
            self.init(**settings)

    def init(self, *, mode=PERIODIC, freq=-1, period=-1, callback=None):
        self._round += 1
        self._callback = callback
        _thread.start_new_thread(self._count, (self._round, 1000 // freq if freq > 0 else period, mode))

    def deinit(self):
        self._round += 1

    def _count(self, number, period_ms, mode):
        utime.sleep_ms(period_ms)
        while self._round == number:
            schedule(self._fire, number)
            if mode == Timer.ONE_SHOT:
                return
            utime.sleep_ms(period_ms)

    def _fire(self, number):
        if self._round == number and self._callback:
            self._callback(self)


class WDT:
    """Bites through the simulator: no feed for `timeout` milliseconds reboots the board."""

    def __init__(self, id=0, timeout=5000):
        _tunnel.put_bytes(_WATCH, timeout.to_bytes(4, "little"), 4, 0)
        _tunnel.flush()

    def feed(self):
        _tunnel.put(_FEED, 0)
        _tunnel.flush()


def unique_id():
    return bytes(int(os.getenv("EPI_SIM_UNIQUE_ID")[i : i + 2], 16) for i in range(0, 16, 2))


def freq(hz=None):
    return 150_000_000


def reset_cause():
    return int(os.getenv("EPI_SIM_RESET_CAUSE") or PWRON_RESET)


def reset():
    """Never returns: the simulator ends this interpreter and boots another."""
    _tunnel.put(_RESET, 0)
    _tunnel.flush()
    while True:
        utime.sleep(1)


soft_reset = reset
