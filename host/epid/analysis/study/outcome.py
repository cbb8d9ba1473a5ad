"""The plan's outcomes A, B and C, and whether there is compensation at all: equivalence tests on the coefficient kappa."""

from __future__ import annotations

import math

from .comparison import Expectation
from .contrast import ONE_RUN, Contrast
from .verdict import ALPHA, Margins, Verdict

_NAMES = {
    "A": "energy drops in proportion to the work removed",
    "B": "partial compensation: energy drops, but by less than the work removed",
    "C": "full compensation: energy does not drop",
}
_MORE = "energy drops by more than the work removed"


def outcome(expected: Expectation | None, joules: Contrast, margins: Margins) -> Verdict:
    """A where kappa is below the margin, C where it is above 1 - margin, B between: each only with its whole interval inside.

    The interval is the one at 1 - 2 alpha, so that each claim is two one-sided tests (TOST; Schuirmann 1987).
    """
    edges = (margins.kappa, 1 - margins.kappa)
    test = f"TOST on kappa, edges {edges[0]:g} and {edges[1]:g}, alpha {ALPHA:g} each side"
    if expected is None or not expected.kappa.known:
        return Verdict("impossible", "what the cut should save is unknown, so the saving cannot be judged", test)
    low, high = _kappa_bounds(expected.share, joules)
    shown = f"kappa {expected.kappa.value:.2f} in [{low:.2f}, {high:.2f}] on {expected.basis}"
    if not joules.tested:
        return Verdict("undecided", f"undecided: {_more(3 - joules.runs)} needed; {ONE_RUN} ({shown})", test, 3 - joules.runs)
    if high < edges[0]:
        return Verdict("A", f"{_MORE if high < -edges[0] else _NAMES['A']}: {shown}", test)
    if low > edges[1]:
        return Verdict("C", f"{_NAMES['C']}: {shown}", test)
    if edges[0] < low and high < edges[1]:
        return Verdict("B", f"{_NAMES['B']}: {shown}", test)
    away = min(abs(expected.kappa.value - edge) for edge in edges)
    return _undecided(joules.more_runs(expected.share * away), shown, test)


def compensation(expected: Expectation | None, joules: Contrast, margins: Margins) -> Verdict:
    """detected where kappa is above 0, none where it is surely below the margin; one-sided tests at ALPHA."""
    test = f"one-sided t test of kappa against 0, and against {margins.kappa:g}; alpha {ALPHA:g}"
    if expected is None or not expected.kappa.known:
        return Verdict("impossible", "what the cut should save is unknown, so compensation cannot be judged", test)
    low, high = _kappa_bounds(expected.share, joules)
    shown = f"kappa {expected.kappa.value:.2f} in [{low:.2f}, {high:.2f}] on {expected.basis}"
    if not joules.tested:
        return Verdict("undecided", f"undecided: {_more(3 - joules.runs)} needed; {ONE_RUN} ({shown})", test, 3 - joules.runs)
    if high < margins.kappa:
        return Verdict("none", f"no compensation beyond the margin: {shown}", test)
    if low > 0:
        return Verdict("detected", f"less was saved than the work removed: {shown}", test)
    kappa = expected.kappa.value
    return _undecided(joules.more_runs(expected.share * max(abs(kappa), abs(margins.kappa - kappa))), shown, test)


def _kappa_bounds(share: float, joules: Contrast) -> tuple[float, float]:
    low, high = joules.bounds(ALPHA)
    return 1 - (1 - low) / share, 1 - (1 - high) / share


def _undecided(more: int | None, shown: str, test: str) -> Verdict:
    if more is None or not math.isfinite(more):
        return Verdict("undecided", f"undecided, and no affordable number of repeats would decide it: {shown}", test)
    return Verdict("undecided", f"undecided: {_more(more)} needed ({shown})", test, more)


def _more(runs: int) -> str:
    return f"{runs} more repeat{'s' if runs > 1 else ''}"
