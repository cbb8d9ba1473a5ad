"""Several runs as one study: arms of equal runs, each arm against the baseline, and the answers of the research plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EpidError, RunFileError
from ..accuracy import Accuracy
from ..metering.calibration import Corrections
from ..summary import Summary, summarise
from .arm import Arm, arms_of
from .comparable import comparable
from .compare import compare, joules_contrast, scatter_of
from .comparison import Comparison
from .group_cost import GroupCost, group_cost
from .probed_layer import ProbedLayer, probe_of, probed_layers
from .questions import Answer, answers
from .threshold import Threshold, threshold_of
from .verdict import Margins


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that several runs say together; the first arm is the baseline of every comparison.

    `probes`: layers measured by probe models, which are arms but no cuts. `problems` are sentences about runs that could not be
    used or compared, and why.
    """

    summaries: tuple[Summary, ...]
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    threshold: Threshold
    groups: GroupCost
    answers: tuple[Answer, ...]
    probes: tuple[ProbedLayer, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether any meter was simulated."""
        return any(summary.simulated for summary in self.summaries)

    def to_map(self) -> dict[str, Any]:
        """Return the study without the single runs' own figures as plain values."""
        return {
            "simulated": self.simulated,
            "arms": [arm.to_map() for arm in self.arms],
            "comparisons": [comparison.to_map() for comparison in self.comparisons],
            "threshold": self.threshold.to_map(),
            "kv_groups": self.groups.to_map(),
            "answers": [answer.to_map() for answer in self.answers],
            "probes": [probe.to_map() for probe in self.probes],
            "problems": list(self.problems),
        }


def study_of(summaries: Sequence[Summary], margins: Margins | None = None, problems: Sequence[str] = ()) -> Study:
    """Compare runs that were worked out already; the model of the first one is the baseline."""
    usable, left_out = _usable(summaries)
    arms = arms_of(usable)
    refusals = {arm.label: refusal for arm in arms[1:] if (refusal := comparable(arms[0], arm).refusal)}
    whole = [arm for arm in arms[1:] if arm.label not in refusals]
    scatter = scatter_of([arms[0], *whole])
    cuts = [arm for arm in whole if probe_of(arm) is None]
    comparisons = tuple(compare(arms[0], arm, scatter, margins or Margins()) for arm in cuts)
    pruned = [arm for arm in cuts if arm.plan is not None]
    threshold = threshold_of([(arm, joules_contrast(arms[0], arm, scatter)) for arm in pruned])
    return Study(
        summaries=tuple(summaries),
        arms=arms,
        comparisons=comparisons,
        threshold=threshold,
        groups=group_cost(arms[0], pruned),
        answers=answers([arms[0], *cuts], comparisons, threshold),
        probes=probed_layers(arms[0], whole, scatter.gross),
        problems=(*problems, *left_out, *refusals.values()),
    )


def load_study(
    paths: Iterable[Path],
    channel: int | None = None,
    corrections: Corrections | None = None,
    accuracy: Accuracy | None = None,
    margins: Margins | None = None,
) -> Study:
    """Read and compare run files; one that cannot be used is named in `problems`, and only when none can be is it an error."""
    summaries: list[Summary] = []
    errors: list[EpidError] = []
    for path in paths:
        try:
            summaries.append(summarise(path, channel, corrections, accuracy))
        except RunFileError as error:
            errors.append(error)
    if not summaries:
        raise errors[0]
    return study_of(summaries, margins, [str(error) for error in errors])


def _usable(summaries: Sequence[Summary]) -> tuple[list[Summary], list[str]]:
    """A run that was cut short is left out of comparisons where its model has whole runs."""
    kept, left_out = [], []
    whole = {_model(run) for run in summaries if run.complete}
    for run in summaries:
        if run.complete or _model(run) not in whole:
            kept.append(run)
        else:
            left_out.append(f"{run.run.label} was cut short and is left out of the comparison, as its model has whole runs")
    return kept, left_out


def _model(run: Summary) -> str:
    return str(run.run.node.begin.get("model", {}).get("sha256", run.run.label))
