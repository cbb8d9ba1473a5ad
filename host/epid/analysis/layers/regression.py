"""Joules of layers and of their halves from fitted watts, where the design of the run tells them apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..interval import Interval
from .fit import RESOLUTION, LayerFit
from .layer import HALVES_NOT_IDENTIFIABLE, NOT_IDENTIFIABLE, TOO_SELDOM
from .units import Units

FEWEST_REPEATS = 5
"""What was repeated less often is not claimed, whatever the design promises."""


@dataclass(frozen=True, slots=True)
class Regression:
    """The fit of a run of so many `tokens` on its units; `gain_sd` is the meter's relative uncertainty."""

    units: Units
    fit: LayerFit
    tokens: int
    gain_sd: float

    def layer_j(self, layer: int) -> Interval:
        """Joules per token of a layer as a whole."""
        return self._joules(self.units.of(layer))

    def half_j(self, layer: int, what: int) -> Interval:
        """Joules per token of one half of a layer."""
        if self.units.halved:
            return self._joules(self.units.of(layer, what))
        return Interval.missing(HALVES_NOT_IDENTIFIABLE if self._claimed(self.units.of(layer)) else NOT_IDENTIFIABLE)

    def resolution(self, layer: int) -> float:
        """Standard error that the design promises for a layer as a whole, over the mean power of layers."""
        return self.fit.resolution(self.units.of(layer))

    @property
    def complete(self) -> bool:
        """Whether every unit is told apart."""
        return all(self._claimed(share) for share in np.eye(len(self.units)))

    def joules(self, rest_s: float) -> tuple[float, float, float]:
        """Of first computations, of extra ones, and of so many seconds of the rest of decoding."""
        *units_w, rest_w = self.fit.watts
        return float(self.units.ordinary_s @ units_w), float(self.units.repeated_s @ units_w), rest_s * float(rest_w)

    def _joules(self, share: np.ndarray) -> Interval:
        if not self._claimed(share):
            return Interval.missing(self._refusal(share))
        seconds = float(self.units.ordinary_s[share > 0].sum())
        return self.fit.interval_w(share, self.gain_sd).scaled(seconds / self.tokens)

    def _claimed(self, share: np.ndarray) -> bool:
        mine = share > 0
        if not mine.any():
            return False
        return bool((self.units.repeats[mine] >= FEWEST_REPEATS).all()) and self.fit.resolution(share) <= RESOLUTION

    def _refusal(self, share: np.ndarray) -> str:
        repeats = self.units.repeats[share > 0]
        return TOO_SELDOM if len(repeats) and repeats.all() else NOT_IDENTIFIABLE
