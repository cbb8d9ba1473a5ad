"""Runs in a MicroPython: what 10,000 sweeps of the real loop allocate. Prints one line of JSON.

Everything happens that happens on a good day: energy comes in, pings are answered, HELLO goes out, the host pauses until the
ring drops frames, and the ticks wrap.
"""

import gc
import json
from array import array

from bench import Clock, Port

from epi_firmware import config, description
from epi_firmware import registers as reg
from epi_firmware.app import Meter
from epi_firmware.channel import RUNNING
from epi_protocol import messages
from epi_protocol.frame import encode_command

SWEEPS = 10_000
WARM_UP = 100


class QuickClock(Clock):
    """Passes over the quiet times of chip select, which the bus counts as part of an access."""

    def sleep_us(self, us):
        if us > 4:
            self.now = self.ticks_add(self.now, us)


class Registers:
    """Bus, chip selects and chip in one, as quick as can be: registers keep what is written, LastData what was last moved."""

    def __init__(self, clock):
        self.words = array("H", [0] * 128)
        self.words[reg.CAL_START], self.words[reg.EN_STATUS] = reg.CODE_POWER_ON, reg.STRAPS_L_FIXED
        self.accesses = 0
        self._clock = clock

    def on(self):
        pass

    def off(self):
        pass

    def write_readinto(self, tx, rx):
        words, head = self.words, tx[0]
        self.accesses += 1
        self._clock.sleep_us(200)
        if head & reg.READ:
            value = words[head & 0x7F]
            rx[1] = value >> 8
            rx[2] = value & 0xFF
            words[reg.LAST_DATA] = value
        else:
            words[head] = words[reg.LAST_DATA] = tx[1] << 8 | tx[2]
            if head == reg.SOFT_RESET:
                words[reg.CAL_START] = reg.CODE_POWER_ON


def make():
    """Return (meter, registers, port, clock) with all chips configured and settled soon."""
    clock = QuickClock((1 << 30) - 100_000_000)
    settings, _complaints = config.checked({"settle_ms": 100, "sample_hz": 40})
    registers = Registers(clock)
    port = Port(clock, keep=False)
    hello = description.hello_payload(b"BOOT", "e661", "1.28.0", "bench", True, settings)
    meter = Meter(registers, [registers] * 4, port, clock, settings, b"BOOT", hello)
    port.incoming = bytearray(encode_command(messages.pack_ping(b"\x01\x02\x03\x04")))
    return meter, registers, port, clock


def a_sweep(meter, registers, port, number):
    """One sweep of the loop with all that comes with it."""
    words = registers.words
    words[reg.Q_MEAN] = number & 0xFF if number % 400 < 200 else 0  # and a steady load in between
    words[reg.AP_ENERGY] = number % 3
    words[reg.AT_ENERGY] = number % 3 + (number % 50 == 0)  # now and then a tick falls between the two readings
    if number % 10 == 0:
        port._read = 0  # the same ping once more
    port.room = 0 if 3000 < number < 3300 else -1
    due = meter._due
    while meter._due == due:
        meter.turn()


def run(meter, registers, port, first, count):
    """Sweeps `first` to `first + count`."""
    for number in range(first, first + count):
        a_sweep(meter, registers, port, number)


def main():
    gc.collect()  # what compiling has left behind lies in the way, as main.py knows too
    meter, registers, port, clock = make()
    run(meter, registers, port, 0, WARM_UP)
    taken, accesses, ticks = port.taken, registers.accesses, clock.now
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    run(meter, registers, port, WARM_UP, SWEEPS)
    after = gc.mem_alloc()
    gc.enable()
    print(
        json.dumps(
            {
                "sweeps": SWEEPS,
                "allocated": after - before,
                "used": before,
                "bytes_sent": port.taken - taken,
                "dropped": meter.ring.dropped,
                "accesses": (registers.accesses - accesses) / SWEEPS,
                "running": all(channel.state == RUNNING for channel in meter.channels),
                "wrapped": clock.now < ticks,
            }
        )
    )


main()
