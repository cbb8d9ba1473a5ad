"""The expected course of power over a run: one level per kind of phase, fitted to the energy registers.

It serves to split the energy that was counted between two samples where the edge of a phase lies between them: by time alone, an
edge from 3 W to 10 W would be misjudged by up to a tenth of a joule, always to the same side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from epi_protocol import events

from ..timeline.timeline import MeterTrack, SpanTable
from .occupancy import occupancy

LEVELS = ("idle", "warmup", "prefill", "decode", "burn", "rest")
"""Kinds of span that lie side by side and never within each other; everything else is level 0, unlabelled."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Pieces of constant expected power: `edges_ns` int64 (n + 1,), `watts` (n,), `joules` (n + 1,) their running integral."""

    edges_ns: np.ndarray
    watts: np.ndarray
    joules: np.ndarray

    @classmethod
    def of(cls, edges_ns: np.ndarray, watts: np.ndarray) -> Shape:
        """Integrate pieces of constant power."""
        return cls(edges_ns, watts, np.concatenate([[0.0], np.cumsum(watts * np.diff(edges_ns) / 1e9)]))

    def at(self, at_ns: np.ndarray) -> np.ndarray:
        """Expected joules up to each instant; beyond the ends the last level goes on."""
        base = self.edges_ns[0]
        x, edges = (at_ns - base).astype(np.float64), (self.edges_ns - base).astype(np.float64)
        inside = np.interp(x, edges, self.joules)
        before, after = np.minimum(x, 0) * self.watts[0] / 1e9, np.maximum(x - edges[-1], 0) * self.watts[-1] / 1e9
        return np.asarray(inside + before + after)

    def watts_at(self, at_ns: np.ndarray) -> np.ndarray:
        """Expected power at each instant."""
        piece = np.searchsorted(self.edges_ns, at_ns, side="right") - 1
        return np.asarray(self.watts[np.clip(piece, 0, len(self.watts) - 1)])


def fit_shape(track: MeterTrack, spans: SpanTable) -> Shape:
    """Fit one level of power to each kind of phase by non-negative least squares on the counter's increments."""
    known = np.isfinite(track.energy_j)
    at_ns, counted_j = track.host_ns[known], track.energy_j[known]
    begin_ns, end_ns, level = _pieces(spans)
    if len(at_ns) < 3:
        return Shape.of(np.array([0, 1], dtype=np.int64), np.zeros(1))
    busy_s = occupancy(at_ns, begin_ns, end_ns, level, len(LEVELS))
    step_s = np.diff(at_ns) / 1e9
    design = np.column_stack([busy_s, np.maximum(step_s - busy_s.sum(axis=1), 0)])
    whole = track.segment[known]
    whole = whole[1:] == whole[:-1]
    watts, _residual = nnls(*_normal(design[whole], np.diff(counted_j)[whole]))
    return _drawn(at_ns, begin_ns, end_ns, level, watts)


def _normal(design: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small problem with the same solution: the triangle of the QR decomposition, a touch of ridge for empty columns."""
    n = design.shape[1]
    q, r = np.linalg.qr(np.vstack([design, 1e-9 * np.eye(n)]))
    return r, q.T @ np.concatenate([response, np.zeros(n)])


def _pieces(spans: SpanTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = [spans.of_kind(events.KIND[name]) for name in LEVELS]
    begin_ns = np.concatenate([columns["begin_ns"] for columns in found])
    end_ns = np.concatenate([columns["end_ns"] for columns in found])
    level = np.concatenate([np.full(len(columns["begin_ns"]), at) for at, columns in enumerate(found)])
    order = np.argsort(begin_ns, kind="stable")
    return begin_ns[order], end_ns[order], level[order]


def _drawn(at_ns: np.ndarray, begin_ns: np.ndarray, end_ns: np.ndarray, level: np.ndarray, watts: np.ndarray) -> Shape:
    """Pieces over the whole record: between two spans the unlabelled level."""
    end_ns = np.minimum(end_ns, np.append(begin_ns[1:], np.iinfo(np.int64).max))
    edges = np.unique(np.concatenate([at_ns[[0, -1]], begin_ns, end_ns]))
    piece = np.searchsorted(begin_ns, edges[:-1], side="right") - 1
    inside = (piece >= 0) & (edges[:-1] < end_ns[piece]) if len(begin_ns) else np.zeros(len(edges) - 1, dtype=bool)
    of_piece = level[piece] if len(level) else np.zeros(len(piece), dtype=int)
    return Shape.of(edges, np.where(inside, watts[of_piece], watts[-1]))
