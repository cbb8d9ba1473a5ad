"""A running meter, a fault at a chosen clock, and an audit of one channel's books."""

from model import Model

from epi_tools.chip import registers as reg
from epi_tools.plant import Constant


class Audit:
    """Holds the board's sums against what was really taken out of a chip's registers, sweep by sweep."""

    def __init__(self, model, channel):
        self._model, self._channel = model, channel
        self._before = self._state()
        self.unmarked = 0

    def _state(self):
        block, cleared = self._model.block(self._channel), self._model.cleared[self._channel]
        off = (block["forward"] - cleared[reg.AP_ENERGY], block["reverse"] - cleared[reg.AN_ENERGY])
        return off, block["unknown"]

    def check(self):
        """Count a sweep in which the sums left the truth and nobody said so."""
        now = self._state()
        if now[0] != self._before[0] and now[1] == self._before[1]:
            self.unmarked += 1
        self._before = now


def one_sweep(model):
    due = model.meter._due
    while model.meter._due == due:
        model.meter.turn()


def running(channels=4):
    watts = (3.5, 5.0, 11.0, 8.0)[:channels]
    model = Model([Constant(each) for each in watts], settle_ms=0, channels=[{}] * channels)
    model.run(1.5)
    return model


def flip_at(port, faults, line, access, clock):
    """Arm one flip in the `access`-th access from now."""
    select, count = type(port).select, [0]

    def counting():
        if count[0] == access:
            getattr(faults, line)(clock)
            del port.select
        count[0] += 1
        select(port)

    port.select = counting
