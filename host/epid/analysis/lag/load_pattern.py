"""The load pattern that a runner makes before and after its work: every core busy (`burn`), nothing at all (`rest`), in turn.

The lengths are pseudo-random, so that only one delay fits them. Between two groups of such spans lies the run itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epi_protocol import events

from ..timeline.timeline import SpanTable

LONGEST_PAUSE_NS = 600_000_000
"""Spans of the pattern that lie further apart than this belong to two patterns."""

FEWEST_SPANS = 20


@dataclass(frozen=True, slots=True)
class LoadPattern:
    """One stretch of alternating load on the host's clock.

    `edges_ns` int64, shape (n + 1,): where the load changes. `level`, shape (n,): 1 while the cores burn, 0 while they rest;
    a moment between two spans counts as rest.
    """

    edges_ns: np.ndarray
    level: np.ndarray

    def burnt_s(self, at_s: np.ndarray, base_ns: int) -> np.ndarray:
        """Seconds of burning since the pattern's begin, up to each instant of `at_s` (seconds since `base_ns`)."""
        edges_s = (self.edges_ns - base_ns) / 1e9
        total_s = np.concatenate([[0.0], np.cumsum(self.level * np.diff(edges_s))])
        return np.interp(at_s, edges_s, total_s)

    @property
    def seconds(self) -> float:
        """Length of the stretch."""
        return float(self.edges_ns[-1] - self.edges_ns[0]) / 1e9


def load_patterns(spans: SpanTable) -> list[LoadPattern]:
    """Return the stretches of load pattern in a run, in order; too short ones are left out."""
    kinds = (events.KIND["burn"], events.KIND["rest"])
    columns = spans.where(np.isin(spans.columns["kind"], kinds))
    order = np.argsort(columns["begin_ns"], kind="stable")
    begin, end, kind = (columns[name][order] for name in ("begin_ns", "end_ns", "kind"))
    if not len(begin):
        return []
    cuts = np.flatnonzero(begin[1:] - end[:-1] > LONGEST_PAUSE_NS) + 1
    groups = np.split(np.arange(len(begin)), cuts)
    return [_stretch(begin[mine], end[mine], kind[mine] == kinds[0]) for mine in groups if len(mine) >= FEWEST_SPANS]


def _stretch(begin: np.ndarray, end: np.ndarray, burns: np.ndarray) -> LoadPattern:
    """Edges and levels with the short pauses between spans as rest of their own."""
    end = np.minimum(end, np.append(begin[1:], end[-1]))
    edges_ns = np.append(np.column_stack([begin, end]).ravel(), end[-1])
    level = np.column_stack([burns.astype(float), np.zeros(len(begin))]).ravel()
    return LoadPattern(edges_ns, level)
