"""A metered run in memory: power as constant pieces, their exact integral, and the track and spans that a run file would have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epi_protocol import events
from epid.analysis.timeline.timeline import MeterTrack, SpanTable

S = 1_000_000_000
QUANTUM_J = 0.36


@dataclass(frozen=True)
class Profile:
    """Watts as constant pieces between `edges_s` (n + 1,); `watts` (n,)."""

    edges_s: np.ndarray
    watts: np.ndarray

    def joules(self, begin_s, end_s):
        """Exact integral between two moments, or arrays of them."""
        running = np.concatenate([[0.0], np.cumsum(self.watts * np.diff(self.edges_s))])
        return np.interp(end_s, self.edges_s, running) - np.interp(begin_s, self.edges_s, running)

    def mean_w(self, begin_s, end_s):
        """Mean power between two moments."""
        return self.joules(begin_s, end_s) / (end_s - begin_s)


def metered(profile, rng, *, hz=20.0, gain=1.0, window_s=0.32, noise_w=0.01, delay_s=0.0015, bound_ns=0.0):
    """A track of `profile`: counter of whole steps from a random level, read `delay_s` after P, sampled with a little jitter."""
    first, last = profile.edges_s[0], profile.edges_s[-1]
    at_s = np.arange(first + 0.5, last - 0.1, 1 / hz) + rng.uniform(0, 0.002, len(np.arange(first + 0.5, last - 0.1, 1 / hz)))
    counted = gain * profile.joules(np.full(len(at_s), first), at_s + delay_s) + rng.uniform(0, QUANTUM_J)
    n = len(at_s)
    p_w = profile.mean_w(at_s - window_s, at_s) + rng.normal(0, noise_w, n)
    zeros = np.zeros(n, dtype=np.int64)
    return MeterTrack(
        board_id="b",
        channel=0,
        name="ch0",
        simulated=True,
        quantum_j=QUANTUM_J,
        sample_hz=hz,
        host_ns=np.round(at_s * S).astype(np.int64),
        bound_ns=np.full(n, bound_ns),
        p_w=p_w,
        u_v=np.full(n, 230.0),
        i_a=np.full(n, 0.05),
        energy_j=np.floor(counted / QUANTUM_J) * QUANTUM_J,
        segment=zeros,
        lost=zeros,
        flags=np.zeros(n, dtype=np.uint16),
        unknown=np.zeros(n, dtype=np.uint16),
        dropped=0,
    )


def spans(rows):
    """A SpanTable from rows of (kind, begin_s, end_s, and any other column by name)."""
    rest = {"phase": 0, "layer": -1, "request": -1, "token": -1, "count": 0, "batch": 1}
    filled = [
        rest | {"kind": events.KIND[kind], "begin_ns": round(begin_s * S), "end_ns": round(end_s * S)} | more
        for kind, begin_s, end_s, more in rows
    ]
    columns = {
        name: np.array([row[name] for row in filled], dtype=np.dtype(f"<{code}")) for name, code, _meaning in events.COLUMNS
    }
    return SpanTable(columns, 0.0, 0)
