"""What one kind of span consumed over a run: joules in all, per span, per token; gross, and net of the idle node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..interval import Interval


@dataclass(frozen=True, slots=True)
class Budget:
    """Standard deviations in joules of one total, by cause.

    `gain`: the meter's calibration, common to all figures of a run. `offset`: a constant error of its power. `step`: the energy
    registers count in steps. `clock`: where on the timeline the edges lie. `lag`: how late the registers were read and the
    load follows. `gaps`: how the energy of one interval between two samples splits at an edge; large where frames are missing.
    """

    gain: float
    offset: float
    step: float
    clock: float
    lag: float
    gaps: float

    @property
    def own(self) -> float:
        """All but the gain, which two runs on one meter share."""
        return float((self.offset**2 + self.step**2 + self.clock**2 + self.lag**2 + self.gaps**2) ** 0.5)

    @property
    def sd(self) -> float:
        """All causes together; they are independent of each other."""
        return float((self.gain**2 + self.own**2) ** 0.5)


@dataclass(frozen=True, slots=True)
class Consumption:
    """Spans of one `kind` (request, prefill, decode, token) over a run: `spans` of them with `tokens` in `seconds`.

    `total`, `total_net`: joules of all of them. `median`, `median_net`: joules of the middle one. `per_token` and its net: total
    over tokens. `scatter`: relative standard deviation of the single spans' joules per token. All are missing with the reason
    `fault` where the meter could not tell; net also where no idle was measured.
    """

    kind: str
    spans: int
    tokens: int
    seconds: float
    total: Interval
    total_net: Interval
    median: Interval
    median_net: Interval
    budget: Budget | None
    idle_w: float
    fault: str = ""
    scatter: float = float("nan")

    @property
    def per_token(self) -> Interval:
        """Gross joules per token: all that the node drew."""
        return self.total.scaled(1 / self.tokens) if self.tokens else Interval.missing(f"no tokens in {self.kind}")

    @property
    def per_token_net(self) -> Interval:
        """Joules per token above what the idle node draws in the same time."""
        return self.total_net.scaled(1 / self.tokens) if self.tokens else Interval.missing(f"no tokens in {self.kind}")

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second of this kind."""
        return self.tokens / self.seconds if self.seconds else float("nan")

    @property
    def watts(self) -> Interval:
        """Mean power over these spans."""
        return self.total.scaled(1 / self.seconds) if self.seconds else Interval.missing(f"no {self.kind} in this run")

    @property
    def energy_j(self) -> float:
        """Value of `total`."""
        return self.total.value

    @property
    def within_j(self) -> float:
        """Half width of the 95 % interval of `total`."""
        return self.total.half_width

    @property
    def j_per_token(self) -> float:
        """Value of `per_token`."""
        return self.per_token.value

    @property
    def j_per_token_net(self) -> float:
        """Value of `per_token_net`."""
        return self.per_token_net.value

    @property
    def j_per_token_within(self) -> float:
        """Half width of the 95 % interval of `per_token`."""
        return self.per_token.half_width

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        names = ("total", "total_net", "median", "median_net", "per_token", "per_token_net")
        budget = self.budget and {name: getattr(self.budget, name) for name in ("gain", "offset", "step", "clock", "lag", "gaps")}
        return {
            "kind": self.kind,
            "spans": self.spans,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_s": self.tokens_per_s,
            **{f"{name}_j": getattr(self, name).to_map() for name in names},
            "mean_w": self.watts.to_map(),
            "budget_sd_j": budget,
            "fault": self.fault or None,
        }
