"""A pruned arm against the baseline: what was expected, what was measured, and what that says about compensation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..interval import Interval
from .verdict import Margins, Signal, Verdict


@dataclass(frozen=True, slots=True)
class Expectation:
    """One way to say what a cut should save. `basis`: heads (the naive N %), flops or bytes (work truly removed).

    `share`: expected relative saving of joules per token. `gap` = expected - measured saving; `kappa` = 1 - measured / expected:
    0 no compensation, 1 full compensation, above 1 the cut model draws more than the whole one.
    """

    basis: str
    share: float
    gap: Interval
    kappa: Interval

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"basis": self.basis, "share": self.share, "gap": self.gap.to_map(), "kappa": self.kappa.to_map()}


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One layer of the pruned arm against the same layer of the baseline: ratios pruned / baseline.

    `heads`, `kv_heads`: (baseline, pruned) counts. `time`, `attention`, `ffn`: of the medians per token. `energy`,
    `attention_energy`, `ffn_energy`: of joules per token by regression. `p_adjusted`: of "the time is unchanged", Holm-adjusted
    over the layers. `claim`: faster, slower or "".
    """

    layer: int
    heads: tuple[int, int]
    kv_heads: tuple[int, int]
    time: Interval
    attention: Interval
    ffn: Interval
    energy: Interval
    attention_energy: Interval
    ffn_energy: Interval
    p_adjusted: float
    claim: str

    @property
    def pruned(self) -> bool:
        """Whether heads were taken from this layer."""
        return self.heads[0] != self.heads[1]

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        names = ("time", "attention", "ffn", "energy", "attention_energy", "ffn_energy")
        ratios = {name: getattr(self, name).to_map() for name in names}
        plain = {name: getattr(self, name) for name in ("layer", "heads", "kv_heads", "p_adjusted", "claim", "pruned")}
        return plain | ratios


@dataclass(frozen=True, slots=True)
class Comparison:
    """A pruned arm and the baseline arm.

    `saving`, `saving_net`: 1 - pruned / baseline of joules per token, gross and net of idle. `speedup`: ratio of tokens/s.
    `epi_change`: EPI pruned / baseline - 1. `outcome`: A (proportional), B (partial) or C (full compensation). `compensation`:
    whether any was detected at all. `pattern`: none, partial, full, speed-up. `signals`: what the pattern was read from.
    `drift`: whether the arms drifted over the study; `adjusted`: the saving with temperature and order as covariates.
    """

    baseline: str
    arm: str
    simulated: bool
    saving: Interval
    saving_net: Interval
    speedup: Interval
    epi_change: Interval
    expected: tuple[Expectation, ...]
    basis: str
    outcome: Verdict
    compensation: Verdict
    pattern: Verdict
    signals: tuple[Signal, ...]
    layers: tuple[LayerChange, ...]
    drift: Verdict
    adjusted: Interval
    margins: Margins
    notes: tuple[str, ...] = ()

    @property
    def kappa(self) -> Interval:
        """Compensation coefficient on the basis that the outcome was decided on."""
        for expectation in self.expected:
            if expectation.basis == self.basis:
                return expectation.kappa
        return Interval.missing("the model file carries no plan, so what the cut should save is unknown")

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        intervals = ("saving", "saving_net", "speedup", "epi_change", "kappa", "adjusted")
        return {
            "baseline": self.baseline,
            "arm": self.arm,
            "simulated": self.simulated,
            **{name: getattr(self, name).to_map() for name in intervals},
            "expected": [expectation.to_map() for expectation in self.expected],
            "basis": self.basis,
            **{name: getattr(self, name).to_map() for name in ("outcome", "compensation", "pattern", "drift")},
            "signals": [signal.to_map() for signal in self.signals],
            "layers": [layer.to_map() for layer in self.layers],
            "margins": asdict(self.margins),
            "notes": list(self.notes),
        }
