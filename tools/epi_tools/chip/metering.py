"""The metering chain: raw power in, 0.01-pulse quanta, 0.1-pulse registers and CF pulses out (datasheet 5.4)."""

import math
from typing import Final

from epi_tools.chip.circuit import PowerSource

CF_CAP_HZ: Final = 100.0


class EnergyCounter:
    """Forward, reverse and absolute energy of one kind (active or reactive).

    Power accumulates in quanta of 0.01 pulse; opposite directions cancel only inside one quantum. Registers count
    0.1 pulse, 16 bits, and wrap. Below the no-load threshold nothing accumulates until the start threshold is reached.
    """

    def __init__(self, now_ns: int) -> None:
        self.metered_ns = now_ns
        self.forward = self.reverse = self.absolute = 0
        self.cf_pulses = 0
        self.no_load = True
        self.flows_reverse = self.turned = False
        self._raw_per_w = self._quanta_per_raw_s = self._start_raw = self._no_load_raw = 0.0
        self._ceiling_w = math.inf
        self._rest = self._absolute_rest = self._cf_quanta = 0.0
        self._forward_quanta = self._reverse_quanta = self._absolute_quanta = 0

    def configure(self, raw_per_w: float, ceiling_w: float, quanta_per_raw_s: float, start_raw: int, no_load_raw: int) -> None:
        """Take over what registers and circuit make of a watt. A rate of 0 counts nothing."""
        self._raw_per_w, self._ceiling_w, self._quanta_per_raw_s = raw_per_w, ceiling_w, quanta_per_raw_s
        self._start_raw, self._no_load_raw = start_raw, no_load_raw

    def meter(self, source: PowerSource, now_ns: int) -> None:
        """Integrate up to `now_ns`, or as far as a live source knows."""
        start_ns = self.metered_ns
        if now_ns <= start_ns:
            return
        for end_ns, watts in source.pieces(start_ns, now_ns):
            if watts > self._ceiling_w:
                watts = self._ceiling_w
            self.flow(watts * self._raw_per_w, (end_ns - start_ns) * 1e-9)
            start_ns = end_ns
        self.metered_ns = start_ns

    def clear(self, direction: str, counted: int) -> None:
        """Clear on read: take what was read out of a register; ticks that arrived since stay."""
        setattr(self, direction, (getattr(self, direction) - counted) & 0xFFFF)

    def flow(self, raw: float, seconds: float) -> None:
        """Let `raw` power units flow for `seconds`."""
        magnitude = raw if raw >= 0 else -raw
        if self.no_load:
            if magnitude < self._start_raw:
                return
            self.no_load = False
        elif magnitude < self._no_load_raw:
            self.no_load = True
            return
        quanta = magnitude * self._quanta_per_raw_s * seconds
        cap = CF_CAP_HZ * 100 * seconds
        self._absolute_rest += quanta
        if self._absolute_rest >= 1:
            self._absolute_rest = self._count_absolute(self._absolute_rest)
        self._rest += quanta if raw >= 0 else -quanta
        if self._rest >= 1 or self._rest <= -1:
            self._count_signed()
        self._cf_quanta += quanta if quanta < cap else cap
        if self._cf_quanta >= 100:
            self._fire_cf(raw < 0)

    def _count_absolute(self, pending: float) -> float:
        rest, whole = math.modf(pending)
        ticks, self._absolute_quanta = divmod(self._absolute_quanta + int(whole), 10)
        self.absolute = (self.absolute + ticks) & 0xFFFF
        return rest

    def _count_signed(self) -> None:
        self._rest, whole = math.modf(self._rest)
        if whole > 0:
            ticks, self._forward_quanta = divmod(self._forward_quanta + int(whole), 10)
            self.forward = (self.forward + ticks) & 0xFFFF
        else:
            ticks, self._reverse_quanta = divmod(self._reverse_quanta - int(whole), 10)
            self.reverse = (self.reverse + ticks) & 0xFFFF

    def _fire_cf(self, reverse: bool) -> None:
        pulses, self._cf_quanta = divmod(self._cf_quanta, 100)
        self.cf_pulses += int(pulses)
        if reverse is not self.flows_reverse:
            self.flows_reverse = reverse
            self.turned = True
