"""One channel of one run, ready to be asked for joules: its track, its gain and lag, its registers and its idle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epi_protocol import events

from .lag.lag import Lag, lag_of
from .layers.energy import LayerEnergies, layer_energies
from .metering.calibration import Correction, Corrections, calibrated_track
from .metering.energy import Window, chains_ratio
from .metering.gain import Gain, gain_of
from .metering.idle import USUAL, Averaging, Idle, idle_power
from .metering.registers import Delay, Registers, reading_delay, registers_of
from .timeline.run import BoardRecord, Run
from .timeline.timeline import MeterTrack, SpanTable
from .windows.tally import Tally


@dataclass(frozen=True, slots=True)
class Metering:
    """`ratio`: energy by the registers over the integral of P, over the whole record; NaN where P has gaps."""

    track: MeterTrack
    spans: SpanTable
    correction: Correction | None
    gain: Gain
    lag: Lag | None
    registers: Registers
    idle: Idle
    ratio: float

    @property
    def tally(self) -> Tally:
        """Draws up what spans consumed."""
        return Tally(self.registers, self.gain, self.idle)

    def layers(self) -> LayerEnergies:
        """Joules of the layers; P is brought onto the scale of the registers."""
        scale = self.ratio if np.isfinite(self.ratio) else 1.0
        decode = self.tally.of(self.spans, "decode")
        return layer_energies(self.registers, self.track, self.spans, decode, self.lag, scale, self.gain.sd)


def metering_of(run: Run, spans: SpanTable, board: BoardRecord, channel: int, corrections: Corrections | None) -> Metering:
    """Put a channel on the timeline; RunFileError where it has no samples there."""
    track, correction = calibrated_track(board, channel, corrections)
    lag = lag_of(run, track)
    idle = spans.of_kind(events.KIND["idle"])
    windows = [Window(int(begin), int(end)) for begin, end in zip(idle["begin_ns"], idle["end_ns"], strict=True)]
    return Metering(
        track=track,
        spans=spans,
        correction=correction,
        gain=gain_of(board, channel, correction),
        lag=lag,
        registers=registers_of(track, spans, _delay(channel, lag)),
        idle=idle_power(track, windows, USUAL if lag is None else Averaging(lag.centre_s, lag.window_s)),
        ratio=chains_ratio(track, Window(int(track.host_ns[0]), int(track.host_ns[-1]))),
    )


def _delay(channel: int, lag: Lag | None) -> Delay:
    """How late the registers follow the spans: by the load pattern if there was one, else by the firmware's order of reading."""
    known = reading_delay(channel)
    if lag is None or not np.isfinite(lag.load_s):
        return known
    return Delay(-lag.load_s, max(known.sd, lag.within_s / 2))
