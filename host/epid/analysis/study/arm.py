"""An arm of a study: all runs of one model file, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from ..epi import Epi, epi_of
from ..interval import SIGMAS, Interval
from ..summary import Summary, model_of
from .contrast import Spread, spread
from .cut_plan import CutPlan, cut_plan


@dataclass(frozen=True, slots=True)
class Arm:
    """Runs of one model. Medians over the runs; the intervals carry the scatter of runs and the meter's common error.

    `depth`: share of query heads removed, 0 for a model without a plan. `target`: the plan's layers (all, early, late, …).
    `j_per_token`, `j_per_token_net`: decode. `watts`: mean power while decoding.
    """

    label: str
    sha256: str
    runs: tuple[Summary, ...]
    depth: float
    target: str
    heads_removed: int
    heads: int
    j_per_token: Interval
    j_per_token_net: Interval
    tokens_per_s: Interval
    watts: Interval
    epi: Epi
    temperature_c: float

    @property
    def simulated(self) -> bool:
        """Whether any meter was simulated."""
        return any(run.simulated for run in self.runs)

    @property
    def model(self) -> Mapping[str, Any]:
        """What the nodes said about the model."""
        return model_of(self.runs[0])

    @property
    def plan(self) -> CutPlan | None:
        """The plan of the cut, where the model file carries one."""
        return cut_plan(self.model)

    def values(self, figure: Callable[[Summary], float]) -> list[float]:
        """One figure of every run, runs that lack it left out."""
        return [value for run in self.runs if np.isfinite(value := figure(run)) and value > 0]

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values; the runs by their paths."""
        intervals = ("j_per_token", "j_per_token_net", "tokens_per_s", "watts")
        plain = ("label", "sha256", "simulated", "depth", "target", "heads_removed", "heads", "temperature_c")
        return {
            **{name: getattr(self, name) for name in plain},
            "runs": [str(run.run.path) for run in self.runs],
            **{name: getattr(self, name).to_map() for name in intervals},
            **self.epi.to_map(),
        }


def decode_j(run: Summary) -> float:
    """Gross joules per decoded token."""
    return run.decode.j_per_token


def decode_net_j(run: Summary) -> float:
    """Joules per decoded token net of idle."""
    return run.decode.j_per_token_net


def decode_rate(run: Summary) -> float:
    """Decoded tokens per second."""
    return run.decode.tokens_per_s


def decode_w(run: Summary) -> float:
    """Mean power while decoding."""
    return run.decode.watts.value


def arms_of(summaries: Sequence[Summary]) -> tuple[Arm, ...]:
    """Group runs by their model file, in the order in which the models first appear."""
    groups: dict[str, list[Summary]] = {}
    for summary in summaries:
        groups.setdefault(_identity(summary), []).append(summary)
    scatter: dict[Callable[[Summary], float], Spread] = {
        figure: spread([[v for run in runs if np.isfinite(v := figure(run)) and v > 0] for runs in groups.values()])
        for figure in (decode_j, decode_net_j, decode_rate, decode_w)
    }
    return tuple(_arm(runs, scatter) for runs in groups.values())


def _identity(summary: Summary) -> str:
    model = model_of(summary)
    return str(model.get("sha256") or model.get("file") or model.get("name") or summary.run.label)


def _arm(runs: Sequence[Summary], scatter: Mapping[Callable[[Summary], float], Spread]) -> Arm:
    model = model_of(runs[0])
    plan = cut_plan(model)
    heads, kept = _heads(plan, model)
    j_per_token = _together(runs, decode_j, scatter[decode_j], [run.decode.per_token for run in runs])
    temperatures = [run.temperature_c for run in runs if np.isfinite(run.temperature_c)]
    return Arm(
        label=_label(runs),
        sha256=str(model.get("sha256", "")),
        runs=tuple(runs),
        depth=(heads - kept) / heads if heads else float("nan"),
        target=plan.target if plan else "",
        heads_removed=heads - kept,
        heads=heads,
        j_per_token=j_per_token,
        j_per_token_net=_together(runs, decode_net_j, scatter[decode_net_j], [run.decode.per_token_net for run in runs]),
        tokens_per_s=_together(runs, decode_rate, scatter[decode_rate], [Interval.exact(decode_rate(run)) for run in runs]),
        watts=_together(runs, decode_w, scatter[decode_w], [run.decode.watts for run in runs]),
        epi=epi_of(j_per_token, runs[0].epi.accuracy),
        temperature_c=float(np.mean(temperatures)) if temperatures else float("nan"),
    )


def _heads(plan: CutPlan | None, model: Mapping[str, Any]) -> tuple[int, int]:
    """Query heads before and after the cut."""
    if plan is not None:
        return int(plan.query_heads.before), int(plan.query_heads.after)
    heads = sum(int(n) for n in model.get("n_head", []) or [])
    return heads, heads


def _label(runs: Sequence[Summary]) -> str:
    """What the labels of an arm's runs have in common, without a trailing number; else the first one's."""
    labels = [run.run.label for run in runs]
    common = labels[0]
    while not all(label.startswith(common) for label in labels):
        common = common[:-1]
    stripped = common.rstrip("0123456789").rstrip(" -_.#")
    return (stripped if len(runs) > 1 else labels[0]) or labels[0]


def _together(
    runs: Sequence[Summary], figure: Callable[[Summary], float], scatter: Spread, singles: Sequence[Interval]
) -> Interval:
    """Median over the runs. The interval carries the scatter of runs and the gain that they share; one run keeps its own."""
    if lacking := [single for single in singles if not single.known]:
        return lacking[0]
    values = [figure(run) for run in runs]
    value = float(np.median(values))
    if len(runs) == 1 or not scatter.freedom:
        return Interval(value, min(single.low for single in singles), max(single.high for single in singles))
    own = scatter.cv / np.sqrt(len(values)) * float(student.isf(0.025, scatter.freedom)) * abs(value)
    shared = 0.0 if figure is decode_rate else SIGMAS * runs[0].gain.sd * abs(value)
    half = float(np.hypot(own, shared))
    return Interval(value, value - half, value + half)
