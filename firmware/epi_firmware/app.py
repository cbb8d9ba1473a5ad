"""The loop: sweep when it is time, answer the host at once, send what waits.

It allocates nothing while chips and line behave; a log sentence does, and is followed by a collection in the pause.
"""

import gc

from epi_protocol.frame import FRAME_OVERHEAD
from epi_protocol.ticks import Ticks64

from .atm90e26 import Atm90e26
from .blocks import measurement_block, metering_block, sag_threshold, ticks_per_s, ticks_per_s_x256
from .channel import Channel
from .energy import EnergyBooks
from .framing import encode_into
from .link import Link
from .measurement import MeasurementReader
from .registers import const
from .ring import FrameRing
from .spi_port import SpiPort
from .stillness import Stillness
from .sweep import SampleMessage, Sweep

_HELLO_EVERY_S = const(1)
_WAIT_MS = const(1)
_HEALTHY_SWEEPS = const(10)


class Meter:
    """Everything the board does, made of `spi`, one `cs` pin per channel, `port` to the host, `clock` and `settings`.

    `clock` is MicroPython's `time` module or anything with its ticks_us, ticks_add, ticks_diff and sleep_us.
    `hello` is the HELLO payload, `boot_id` four bytes. Where `port` is a network, `console` is the serial port beside it: it
    gets HELLO, the log and one sample a second, and only there can the host ask for the interpreter's prompt.
    """

    def __init__(self, spi, cs_pins, port, clock, settings, boot_id, hello, console=None):
        channels = settings["channels"]
        self._clock = clock
        self._ticks64 = Ticks64(clock.ticks_us, clock.ticks_diff)
        message = SampleMessage(boot_id, len(channels))
        self.ring = FrameRing(settings["ring_frames"], message.length + FRAME_OVERHEAD)
        self.link = self.console = Link(port, self.ring, boot_id, hello, clock, self._ticks64)
        if console:
            self._console_ring = FrameRing(3, message.length + FRAME_OVERHEAD)
            self.console = Link(console, self._console_ring, boot_id, hello, clock, self._ticks64)
        self.channels = [
            _make_channel(channel, SpiPort(spi, cs, clock.sleep_us), block, clock, settings, self.log)
            for channel, cs, block in zip(channels, cs_pins, message.blocks)
        ]
        self._sweep = Sweep(message, self.channels, self._ticks64)
        self._period_us = 1_000_000 // settings["sample_hz"]
        self._sweeps_per_hello = settings["sample_hz"] * _HELLO_EVERY_S
        self._until_hello = 0
        self._unproven = _HEALTHY_SWEEPS
        self._due = clock.ticks_us()

    def run(self, on_healthy=None):
        """Measure until the host asks for the interpreter's prompt; call `on_healthy` once, after the first sweeps."""
        gc.collect()
        while not self.console.leave:
            self.turn()
            if on_healthy and not self._unproven:
                on_healthy()
                on_healthy = None

    def log(self, level, text):
        """Tell a person, on every line."""
        self.link.log(level, text)
        if self.console is not self.link:
            self.console.log(level, text)

    def turn(self):
        """One pass of the loop: a sweep if it is time, else a millisecond of listening."""
        clock = self._clock
        late = clock.ticks_diff(clock.ticks_us(), self._due)
        if late >= 0:
            self._due = clock.ticks_add(self._due, self._period_us)
            if late >= self._period_us:
                self._due = clock.ticks_add(clock.ticks_us(), self._period_us)
            self.sweep()
        self.link.receive(_WAIT_MS)
        self.link.send()
        if self.console is not self.link:
            self.console.receive(0)
            self.console.send()
        if self.link.logged and self.link.idle():
            self.link.logged = False
            gc.collect()

    def sweep(self):
        """Read all chips into the next frame of the ring; between two chips the host's pings are answered."""
        link, sweep = self.link, self._sweep
        sweep.begin(self.ring.dropped)
        for channel in self.channels:
            channel.read_rest()
            link.receive(0)
        self._enqueue(sweep.message)
        if self._unproven:
            self._unproven -= 1

    def _enqueue(self, message):
        _push(message, self.ring)
        self._until_hello -= 1
        if self._until_hello < 0:
            self._until_hello = self._sweeps_per_hello - 1
            self.link.say_hello()
            if self.console is not self.link:
                self.console.say_hello()
                _push(message, self._console_ring)
        message.next()


def _push(message, ring):
    ring.push(encode_into(message.payload, message.length, ring.slot()))


def _make_channel(channel, port, block, clock, settings, log):
    sample_hz = settings["sample_hz"]
    chip = Atm90e26(port, metering_block(channel), measurement_block(channel), sag_threshold(channel))
    load_max = ticks_per_s(channel, channel["load_max_w"])
    per_p_x256 = ticks_per_s_x256(channel)
    books = EnergyBooks(chip, block, clock, sample_hz, load_max, per_p_x256)
    stillness = Stillness(port, block, settings["stale_ms"] * sample_hz // 1000 + 1, sample_hz, per_p_x256)
    measurement = MeasurementReader(port, block, stillness)
    return Channel(channel["name"], chip, block, books, measurement, clock, settings["settle_ms"] * 1000, log)
