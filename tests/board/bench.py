"""A bench without hardware, for any interpreter: scripted chips on a bus, a clock, and a line to the host.

Deliberately simpler than the chip model in tools/: registers are words that a test sets, and time passes only on the bus and
in sleeps. Nothing here allocates once it is made, so that a test can count what the firmware allocates.
"""

from array import array

from epi_firmware import registers as reg

HALF = 1 << 29
ACCESS_US = 192


class Clock:
    """Ticks of 30 bits as on an RP2350, moved by `sleep_us` and by the bus; no value ever reaches 2**30."""

    def __init__(self, now=0):
        self.now = now

    def ticks_us(self):
        return self.now

    def ticks_add(self, ticks, delta):
        ticks += delta - HALF
        return ticks + HALF if ticks < 0 else ticks - HALF if ticks >= HALF else ticks + HALF

    def ticks_diff(self, end, start):
        delta = end - start
        if delta >= HALF:
            return delta - HALF - HALF
        return delta + HALF + HALF if delta < -HALF else delta

    def sleep_us(self, us):
        self.now = self.ticks_add(self.now, us)


class Chip:
    """Registers, LastData, clear on read, both start codes and both checksums of one ATM90E26.

    `script(chip, tx)`, when set, is asked at each access and may return a fault: (kind, detail) with kind "mosi" or "miso"
    (detail: mask of the flipped bits out of 24, first clock highest), "partial" (detail: clocks after which the chip hears no
    more, and the host reads ones) or "dead".
    """

    def __init__(self):
        self.words = array("H", [0] * 128)
        self.low = array("H", [0] * 128)  # what LSB shows after each register
        self.addresses = array("H", [0] * 64)  # heads of the latest accesses, a ring
        self.accesses = 0
        self.script = None
        self.powered = True
        self.reset()

    def reset(self):
        """What SoftReset and a brown-out do."""
        words = self.words
        for address in range(128):
            words[address] = 0
        words[reg.FUNC_EN], words[reg.SAG_TH] = reg.FUNC_EN_RESET, reg.SAG_TH_RESET
        words[reg.CAL_START] = words[reg.ADJ_START] = reg.CODE_POWER_ON
        words[reg.EN_STATUS] = reg.EN_STATUS_RESET | reg.STRAPS_L_FIXED
        self._load(reg.CAL_START, reg.METERING_RESET)
        self._load(reg.ADJ_START, reg.MEASUREMENT_RESET)
        self.stored = [0, 0]

    def live(self):
        """Set readings like those of a Pi: 4.5 W of 7.5 VA at 230 V, with the default power scale of 16."""
        words, low = self.words, self.low
        for address, main, lsb in (
            (reg.P_MEAN, 72, 0x3400),
            (reg.Q_MEAN, 0xFFE0, 0x1200),
            (reg.S_MEAN, 120, 0x5600),
            (reg.U_RMS, 23001, 0x7800),
            (reg.I_RMS, 521, 0x9A00),
        ):
            words[address], low[address] = main, lsb
        words[reg.POWER_F], words[reg.FREQ], words[reg.EN_STATUS] = 600, 5000, 0x2801

    def count(self, forward, reverse=0):
        """Ticks of energy come in; the absolute register counts those of either direction."""
        self.words[reg.AP_ENERGY] += forward
        self.words[reg.AN_ENERGY] += reverse
        self.words[reg.AT_ENERGY] += forward + reverse

    def access(self, tx, rx):
        """24 clocks: `tx` in, `rx` out."""
        self.addresses[self.accesses & 63] = tx[0]
        self.accesses += 1
        if not self.powered:
            rx[0] = rx[1] = rx[2] = 0xFF
        elif self.script is None:
            self._complete(tx[0], tx[1] << 8 | tx[2], rx)
        else:
            self._faulty(self.script(self, tx), tx, rx)

    def latest(self, count):
        """Heads of the `count` latest accesses, oldest first (bit 7: a read)."""
        return [self.addresses[i & 63] for i in range(self.accesses - count, self.accesses)]

    def _faulty(self, fault, tx, rx):
        kind, detail = fault or ("none", 0)
        head, data = tx[0], tx[1] << 8 | tx[2]
        if kind == "dead":
            rx[0] = rx[1] = rx[2] = 0xFF
        elif kind == "partial":
            value = self._value(head & 0x7F) | (1 << 24 - detail) - 1 if detail > 8 else 0xFFFF
            rx[1], rx[2] = value >> 8, value & 0xFF
        elif kind == "mosi":
            self._complete(head ^ detail >> 16, data ^ detail & 0xFFFF, rx)
        else:
            self._complete(head, data, rx)
            if kind == "miso":
                rx[1] ^= detail >> 8 & 0xFF
                rx[2] ^= detail & 0xFF

    def _complete(self, head, data, rx):
        if head & reg.READ:
            data = self._read(head & 0x7F)
            rx[1], rx[2] = data >> 8, data & 0xFF
        else:
            self._write(head, data)

    def _value(self, address):
        if address == reg.CS1:
            return self._sum(reg.PL_CONST_H, 11)
        return self._sum(reg.U_GAIN, 10) if address == reg.CS2 else self.words[address]

    def _read(self, address):
        words = self.words
        value = self._value(address)
        if reg.AP_ENERGY <= address <= reg.RT_ENERGY or address == reg.SYS_STATUS:
            words[address] = 0
        elif reg.I_RMS <= address <= reg.Q_MEAN or address == reg.S_MEAN:
            words[reg.LSB] = self.low[address]
        words[reg.LAST_DATA] = value
        return value

    def _write(self, address, data):
        words = self.words
        if address == reg.SOFT_RESET:
            if data == reg.RESET_CODE:
                self.reset()
            return
        if not (reg.FUNC_EN <= address <= reg.SMALL_P_MOD or reg.CAL_START <= address <= reg.CS2):
            return
        words[address] = words[reg.LAST_DATA] = data
        if address == reg.CAL_START:
            self._start(data, 0, reg.CAL_START, reg.METERING_RESET, reg.CAL_ERR)
        elif address == reg.ADJ_START:
            self._start(data, 1, reg.ADJ_START, reg.MEASUREMENT_RESET, reg.ADJ_ERR)
        elif address == reg.CS1 or address == reg.CS2:
            self.stored[address == reg.CS2] = data

    def _start(self, code, which, start, block, error):
        if code == reg.CODE_CONFIGURE:
            self._load(start, block)
        elif code != reg.CODE_CHECK or self._sum(start + 1, len(block)) != self.stored[which]:
            self.words[reg.SYS_STATUS] |= error

    def _load(self, start, block):
        for value in block:
            start += 1
            self.words[start] = value

    def _sum(self, first, count):
        total = mixed = 0
        for address in range(first, first + count):
            high, low = self.words[address] >> 8, self.words[address] & 0xFF
            total += high + low
            mixed ^= high ^ low
        return mixed << 8 | total & 0xFF


class Select:
    """Chip select of chip `index` on `bus`."""

    def __init__(self, bus, index):
        self._bus = bus
        self._index = index

    def off(self):
        self._bus.select(self._index)

    def on(self):
        self._bus.select(-1)


class Bus:
    """`count` chips on one SPI bus that checks the manners of its master: one chip at a time, quiet times kept."""

    def __init__(self, clock, count=1):
        self.clock = clock
        self.chips = [Chip() for _ in range(count)]
        self.selects = [Select(self, index) for index in range(count)]
        self._selected = -1
        self._clocked_at = self._released_at = 0
        self._rested = True

    def select(self, index):
        clock = self.clock
        if index >= 0:
            assert self._selected < 0, "two chips selected at once"
            assert self._rested or clock.ticks_diff(clock.now, self._released_at) >= 4, "chip select high for less than 3.67 us"
        else:
            assert clock.ticks_diff(clock.now, self._clocked_at) >= 4, "chip select held for less than 3.67 us"
            self._released_at = clock.now
            self._rested = False
        self._selected = index

    def write_readinto(self, tx, rx):
        assert len(tx) == len(rx) == 3, "an access is 24 clocks"
        assert self._selected >= 0, "clocks without a selected chip"
        self.chips[self._selected].access(tx, rx)
        self.clock.sleep_us(ACCESS_US)
        self._clocked_at = self.clock.now


class Port:
    """A line to the host: `incoming` is what the host sends, `outgoing` what it gets; `room` is how much it takes, -1 no end."""

    chunk = 64

    def __init__(self, clock, keep=True):
        self.clock = clock
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.taken = 0
        self.room = -1
        self._keep = keep
        self._read = 0

    def readable(self, timeout_ms):
        if self._read < len(self.incoming):
            return True
        if timeout_ms:
            self.clock.sleep_us(timeout_ms * 1000)
        return False

    def read_byte(self):
        self._read += 1
        return self.incoming[self._read - 1]

    def writable(self):
        return self.room != 0

    def write(self, buf, start, n):
        if 0 <= self.room < n:
            n = self.room
        if self.room > 0:
            self.room -= n
        if self._keep:
            self.outgoing.extend(buf[start : start + n])
        self.taken += n
        return n
