"""May these runs be compared? What differs between them, in sentences: what forbids it, and what only widens the intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..summary import Summary
from .arm import Arm

_MUST_AGREE = ("tokens", "prompt", "prompt_tokens", "threads", "batch", "parallel", "engine", "requests")
"""Settings of the load that change what a token costs; others may differ."""

_HOOKS = ("detail", "repeat_layers", "repeat_halves", "overhead_check")
"""Settings of the hooks that change what a token costs; of repetitions the seed may differ."""


@dataclass(frozen=True, slots=True)
class Comparable:
    """`refusal`: why nothing may be compared, or an empty string. `kin`: whether the arm is a cut of this baseline. `common_sd`:
    relative error that the two arms do not share, because they were metered by other channels or gains."""

    refusal: str
    kin: bool
    common_sd: float
    notes: tuple[str, ...]


def comparable(baseline: Arm, arm: Arm) -> Comparable:
    """Look at two arms' meters, models and settings."""
    refusal, notes = _refusal(baseline, arm), []
    common_sd = 0.0
    if _meters(baseline) != _meters(arm):
        common_sd = (baseline.runs[0].gain.sd ** 2 + arm.runs[0].gain.sd ** 2) ** 0.5
        notes.append(
            f"{arm.label} and {baseline.label} were metered by other channels or in other states of calibration: the error of "
            "both gains is in the intervals"
        )
    kin, remark = _kinship(baseline, arm)
    notes += [*([remark] if remark else []), *_settings(baseline, arm), *_hooks(baseline, arm)]
    return Comparable(refusal, kin, common_sd, tuple(notes))


def _refusal(baseline: Arm, arm: Arm) -> str:
    if baseline.simulated != arm.simulated:
        return f"{arm.label} and {baseline.label} are not compared: one was metered, the other simulated"
    for each in (baseline, arm):
        if not each.j_per_token.known:
            return f"{each.label} is not compared: {each.j_per_token.reason}"
    return ""


def _meters(arm: Arm) -> set[tuple[str, int, str]]:
    return {(run.track.board_id, run.track.channel, run.gain.source) for run in arm.runs}


def _kinship(baseline: Arm, arm: Arm) -> tuple[bool, str]:
    """Whether the arm's plan is of the baseline: by its layers, and by the file it was made for where that is the same format."""
    plan = arm.plan
    if plan is None:
        return False, f"{arm.label} carries no plan of epi-surgery, so what it should save is unknown"
    if list(plan.n_head) != list(baseline.model.get("n_head", [])):
        return False, f"{arm.label} is no cut of {baseline.label}: its plan is of a model with other layers and heads"
    return True, ""


def _settings(baseline: Arm, arm: Arm) -> list[str]:
    notes = []
    for name in _MUST_AGREE:
        seen = {label: _values(runs, name) for label, runs in ((baseline.label, baseline.runs), (arm.label, arm.runs))}
        if seen[baseline.label] != seen[arm.label]:
            values = " and ".join(f"{', '.join(sorted(values)) or 'none'} in {label}" for label, values in seen.items())
            notes.append(f"the load differs: {name} is {values}")
    return notes


def _hooks(baseline: Arm, arm: Arm) -> list[str]:
    """What hooks cost cancels only where both arms bear the same ones."""
    here, there = ({_hooked(run) for run in each.runs} for each in (baseline, arm))
    if here == there:
        return []
    said = " and ".join(f"{'; '.join(sorted(each))} in {label}" for each, label in ((here, baseline.label), (there, arm.label)))
    return [f"the hooks differ, and so does what they cost: {said}"]


def _hooked(run: Summary) -> str:
    settings: Mapping[str, Any] = run.run.node.begin.get("settings", {})
    stamps = settings.get("stamps")
    parts = [f"stamps {stamps.get('mode')} by {stamps.get('by')}"] if isinstance(stamps, Mapping) else ["no word of stamps"]
    for name in _HOOKS:
        value = settings.get(name)
        times = value.get("times", 1) if isinstance(value, Mapping) else value
        parts += [f"{name} {times}"] if value else []
    return ", ".join(parts)


def _values(runs: tuple[Summary, ...], name: str) -> set[str]:
    return {str(run.run.node.begin.get("settings", {}).get(name)) for run in runs}
