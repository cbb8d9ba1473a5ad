"""The real firmware on four chip models in virtual time, and everything that can go wrong, at random times."""

import heapq
from random import Random

from audit import ChannelAudit, HostAudit, block_at, figures
from model import LIVING, Model

from epi_tools.chip import CutLine, LineFaults
from epi_tools.chip import registers as reg
from epi_tools.plant import Constant, Sine, Steps

CHANNELS = 4
FAST = 3  # the channel with a metering constant of 1e7, whose registers wrap within minutes
PROTOCOL = (reg.CAL_START, reg.AP_ENERGY, reg.AN_ENERGY, reg.AT_ENERGY, reg.LAST_DATA)
METERING, MEASURING = range(reg.PL_CONST_H, reg.M_MODE + 1), range(reg.U_GAIN, reg.Q_OFFSET_N + 1)
LOADS_W = ([(3.5, 7.3), (9.0, 4.1)], None, [(11.0, 31.0), (3.9, 17.0)], None)
S = 1_000_000_000


class PowerCut(Exception):
    """The board loses its supply in the middle of an access."""


class Ordeal:
    """Runs for as long as it is told; each kind of fault comes every `every_s` seconds on average, somewhere."""

    def __init__(self, seed=0, every_s=600.0, kinds=None, sample_hz=20):
        self._rng = Random(seed)
        self._every_s = every_s
        sources = [Steps(levels, 0) if levels else None for levels in LOADS_W]
        sources[1], sources[FAST] = Constant(5.0), Sine(7.0, 2.0, 60.0, 0)
        channels = [{}] * FAST + [{"mc_imp_per_kwh": 10_000_000}]
        self._settings = {"channels": channels, "sample_hz": sample_hz}
        self.model = Model(sources, LIVING, boot_id=self._boot_id(), **self._settings)
        self._clock = self.model.board.clock
        self.audits = [ChannelAudit(cleared) for cleared in self.model.cleared]
        self.host = HostAudit()
        self.happened = {}
        self.sweeps = self.accesses_cut = 0
        self._unreachable = [0] * CHANNELS  # dead or deaf: how many faults hold the chip away from the board
        self._dead = set()  # chips whose registers are lost already
        self._agenda, self._number = [], 0
        for chip, audit in zip(self.model.chips, self.audits, strict=True):
            _tell_before_reset(chip, audit, self._clock, self._dead)
        for kind in kinds or KINDS:
            self.happened[kind] = 0
            self._plan(kind)
        self._at(S, self._listen)

    @property
    def now_ns(self):
        """Virtual time since the start."""
        return self._clock.now_ns

    def run(self, seconds):
        """Go on for `seconds` of virtual time."""
        end_ns = self.now_ns + round(seconds * S)
        clock, agenda = self._clock, self._agenda
        meter, due = self.model.meter, self.model.meter._due
        while clock.now_ns < end_ns:
            try:
                meter.turn()
            except PowerCut:
                self.accesses_cut += 1
                self._reboot()
            if clock.now_ns >= agenda[0][0]:
                self._act()
            if meter is not self.model.meter:
                meter, due = self.model.meter, self.model.meter._due
            elif meter._due != due:
                due = meter._due
                self._audit()

    def figures(self):
        """What came of it."""
        return {
            "simulated_s": round(self.now_ns / S, 1),
            "sweeps": self.sweeps,
            "faults": dict(self.happened),
            "tick_wraps": self.now_ns // 1000 >> 30,
            **figures(self.audits, self.host),
        }

    def _audit(self):
        self.sweeps += 1
        payload, now_ns = self.model.meter._sweep.message.payload, self.now_ns
        for channel, audit in enumerate(self.audits):
            audit.sweep(payload, block_at(channel), now_ns, not self._unreachable[channel])

    def _listen(self):
        ring = self.model.meter.ring
        self.host.receive(self.model.received(), self.model.line.open and not len(ring))
        self._at(S, self._listen)

    # --- when -------------------------------------------------------------------------------------------------------

    def _at(self, after_ns, action):
        self._number += 1
        heapq.heappush(self._agenda, (self.now_ns + round(after_ns), self._number, action))

    def _plan(self, kind):
        seldom = 20 if kind == "deaf_beyond_a_wrap" else 1
        self._at(self._rng.expovariate(1 / (seldom * self._every_s)) * S, lambda: self._strike(kind))

    def _act(self):
        while self._agenda[0][0] <= self.now_ns:
            heapq.heappop(self._agenda)[2]()

    def _strike(self, kind):
        self.happened[kind] += 1
        KINDS[kind](self, self._rng.randrange(CHANNELS))
        self._plan(kind)

    # --- what -------------------------------------------------------------------------------------------------------

    def flip(self, channel, line):
        """One bit flips in one access of the next sweep or two."""
        faults = self._line(channel, LineFaults(), 0.2)
        clock = self._rng.randrange(24)
        self._in_access(channel, self._rng.randrange(25), lambda: getattr(faults, line)(clock))

    def noisy(self, channel):
        """For some seconds one bit in three thousand flips, on either line."""
        self._line(channel, LineFaults(3e-4, self._rng.randrange(1 << 30)), self._rng.uniform(0.5, 4))

    def cut(self, channel):
        """One access of the energy protocol loses its last clocks."""
        self._line(channel, LineFaults(), 0.2).cut_once(self._rng.choice(PROTOCOL), self._rng.randrange(8, 24))

    def deaf(self, channel):
        """All reads give FFFFH for a while, and the chip hears nothing."""
        self._line(channel, CutLine(), self._rng.uniform(0.02, 6), unreachable=True)

    def deaf_beyond_a_wrap(self, _channel):
        """The same for so long that an energy register goes round."""
        faults = self._line(FAST, CutLine(), 400.0, unreachable=True)
        self._watch_wrap(faults, self.model.chips[FAST]._active, 0)

    def chip_reset(self, channel):
        """Its supply dips."""
        chip = self.model.chips[channel]
        if chip.powered:
            chip.brown_out()

    def corrupt(self, channel, registers):
        """A register changes behind the interface's back."""
        address = self._rng.choice(registers)
        chip = self.model.chips[channel]
        chip.corrupt(address, chip.load(address) ^ 1 << self._rng.randrange(16))

    def chip_dead(self, channel):
        """One chip loses its supply for a while."""
        chip = self.model.chips[channel]
        if not chip.powered:
            return
        _lose_registers(chip, self.audits[channel], self._clock)
        chip.power_off()
        self._dead.add(chip)
        self._unreachable[channel] += 1
        self._at(self._rng.uniform(1, 20) * S, lambda: self._revive(channel))

    def board_reset(self, _channel):
        """The board alone stops, between two sweeps or in the middle of an access, and starts again."""
        if self._rng.random() < 0.5:
            self._in_access(self._rng.randrange(CHANNELS), self._rng.randrange(25), _cut_power)
        else:
            self._reboot()

    def board_brown_out(self, _channel):
        """Board and chips lose their supply together."""
        for channel in range(CHANNELS):
            self.chip_reset(channel)
        self._reboot()

    def host_away(self, _channel):
        """Nobody reads for a while; the ring holds ten seconds."""
        line = self.model.line
        line.open = False
        self._at(self._rng.uniform(2, 25) * S, lambda: setattr(line, "open", True))

    # --- how --------------------------------------------------------------------------------------------------------

    def _line(self, channel, faults, seconds, unreachable=False):
        port = self.model.board.ports[channel]
        port.faults = faults
        self._unreachable[channel] += unreachable

        def mend():
            self._unreachable[channel] -= unreachable
            if port.faults is faults:
                port.faults = None

        self._at(seconds * S, mend)
        return faults

    def _in_access(self, channel, access, action):
        """Call `action` when the chip has been selected `access` times from now."""
        port = self.model.board.ports[channel]
        select, count = type(port).select, [0]

        def counting():
            if count[0] == access:
                del port.select
                action()
            count[0] += 1
            select(port)

        port.select = counting

    def _watch_wrap(self, faults, counter, before):
        """Book each round of a register that nobody reads; the model itself only shows what is left."""
        chip = self.model.chips[FAST]
        if self.model.board.ports[FAST].faults is not faults or chip._active is not counter:
            return
        chip.keep_up()
        if counter.forward < before:
            self.audits[FAST].reset(0x10000, self.now_ns)
        self._at(20 * S, lambda: self._watch_wrap(faults, counter, counter.forward))

    def _revive(self, channel):
        self._unreachable[channel] -= 1
        self.model.chips[channel].power_on()

    def _reboot(self):
        self._listen_last()
        self.model.board.bus.release()
        self._clock.sleep_ms(self._rng.randrange(200, 3000))
        for audit in self.audits:
            audit.restart()
        self.model.boot(self._boot_id(), **self._settings)

    def _listen_last(self):
        self.host.receive(self.model.received(), False)

    def _boot_id(self):
        return self._rng.randbytes(4)


KINDS = {
    "flipped_miso": lambda ordeal, channel: ordeal.flip(channel, "flip_miso_once"),
    "flipped_mosi": lambda ordeal, channel: ordeal.flip(channel, "flip_mosi_once"),
    "noisy_line": Ordeal.noisy,
    "partial_access": Ordeal.cut,
    "all_ffff": Ordeal.deaf,
    "deaf_beyond_a_wrap": Ordeal.deaf_beyond_a_wrap,
    "chip_reset": Ordeal.chip_reset,
    "cs1_corrupted": lambda ordeal, channel: ordeal.corrupt(channel, METERING),
    "cs2_corrupted": lambda ordeal, channel: ordeal.corrupt(channel, MEASURING),
    "chip_dead": Ordeal.chip_dead,
    "board_reset": Ordeal.board_reset,
    "board_brown_out": Ordeal.board_brown_out,
    "host_away": Ordeal.host_away,
}


def _cut_power():
    raise PowerCut


def _lose_registers(chip, audit, clock):
    chip.keep_up()
    lost = chip._active.forward + chip._active.reverse
    chip._active.forward = chip._active.reverse = 0
    audit.reset(lost, clock.now_ns)


def _tell_before_reset(chip, audit, clock, dead):
    """Have every reset of the chip, the firmware's own too, booked before it happens."""
    reset = chip._reset

    def telling():
        if chip not in dead:
            _lose_registers(chip, audit, clock)
        dead.discard(chip)
        reset()

    chip._reset = telling
