"""Measurements of the bench of criteria, and the table that they make: perplexity relative to the uncut model's."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from epi_surgery.evaluate.interval import wilson


@dataclass(frozen=True)
class Setting:
    """What was done to the model: the share of heads `depth` removed in this layout, nothing from protected layers.

    `healed` names the projections re-solved afterwards: `o`, or `o+down`; `distilled` counts the steps of training that
    follow, at this `rate` of Adam. Criterion `none` is the control: the uncut model given the same treatment. `split` is what
    was measured on, and `pairs` how many minimal pairs of each test beside it. `refined` is how many rounds of
    exchanges the choice of heads went through.
    """

    criterion: str
    seed: int
    layout: str
    depth: float
    protected: tuple[int, ...] = ()
    healed: str = ""
    distilled: int = 0
    split: str = "held-out"
    rate: float = 1e-4
    pairs: int = 0
    refined: int = 0

    @property
    def row(self) -> tuple[str, str, tuple[int, ...], str]:
        """What the table gives a line to."""
        treatment = f"{self.healed}, {self.distilled} steps at {self.rate:g}" if self.distilled else self.healed
        criterion = f"{self.criterion}, {self.refined} rounds" if self.refined else self.criterion
        return criterion, self.layout, self.protected, treatment


@dataclass(frozen=True)
class Measurement:
    """Mean losses in nats per token, one per text, uncut and cut, with the seconds that the ranking took.

    `judged` is how many minimal pairs were judged rightly, and of how many.
    """

    setting: Setting
    dense: tuple[float, ...]
    losses: tuple[float, ...]
    seconds: float
    judged: tuple[int, int] | None = None


def read(path: Path) -> list[Measurement]:
    """What was measured so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [_parsed(json.loads(line)) for line in lines]


def append(path: Path, found: Measurement) -> None:
    """Keep one more."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(found)) + "\n")


def table(found: Sequence[Measurement], n_texts: int, agreement: Mapping[str, float]) -> str:
    """One line per criterion and layout; each cell the ratio of perplexities per text, with a 95 % interval over seeds.

    Behind it the share of minimal pairs judged rightly, with Wilson's interval. `agreement` is Spearman's correlation with
    the ablation of single heads, by criterion.
    """
    depths = sorted({one.setting.depth for one in found})
    head = "| criterion | layout | protected | healed | s | rho | " + " | ".join(f"{depth:.0%}" for depth in depths) + " |"
    lines = [head, "|" + "---|" * (6 + len(depths))]
    for row in dict.fromkeys(one.setting.row for one in found):
        own = [one for one in found if one.setting.row == row]
        cells = [_cell([one for one in own if one.setting.depth == depth], n_texts) for depth in depths]
        criterion, layout, shielded, healed = row
        words = [criterion, layout, ",".join(map(str, shielded)) or "-", healed or "-"]
        seconds = f"{np.median([one.seconds for one in own]):.0f}"
        rho = f"{agreement[criterion]:.2f}" if criterion in agreement else "-"
        lines.append("| " + " | ".join([*words, seconds, rho, *cells]) + " |")
    return "\n".join(lines)


def _cell(found: Sequence[Measurement], n_texts: int) -> str:
    if not found:
        return ""
    parts = [_ratio([one.losses[text] - one.dense[text] for one in found]) for text in range(n_texts)]
    return " / ".join(parts) + f" ({len(found)})" + _accuracy([one.judged for one in found if one.judged is not None])


def _accuracy(judged: Sequence[tuple[int, int]]) -> str:
    if not judged:
        return ""
    correct, n = (sum(counts) for counts in zip(*judged, strict=True))
    low, high = wilson(correct, n)
    return f"; {correct / n:.1%} [{low:.1%} {high:.1%}]"


def _ratio(differences: Iterable[float]) -> str:
    """The geometric mean of perplexity ratios; Student's t over seeds where there are two or more."""
    values = np.asarray(list(differences))
    mean = float(values.mean())
    if len(values) < 2:
        return f"{math.exp(mean):.2f}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return f"{math.exp(mean):.2f} [{math.exp(mean - half):.2f} {math.exp(mean + half):.2f}]"


def _parsed(body: dict) -> Measurement:
    setting = body["setting"] | {"protected": tuple(body["setting"]["protected"])}
    judged = tuple(body["judged"]) if body.get("judged") else None
    return Measurement(Setting(**setting), tuple(body["dense"]), tuple(body["losses"]), body["seconds"], judged)
