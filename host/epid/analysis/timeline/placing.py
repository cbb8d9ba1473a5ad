"""Many instants of a peer's clock put on the host's: the rule of ClockMap.to_host_ns, for arrays."""

from __future__ import annotations

import numpy as np

from ...clocks import ClockMap


def place(peer_ns: np.ndarray, clock: ClockMap) -> tuple[np.ndarray, np.ndarray]:
    """Return (host_ns int64, bound_ns float64) of peer instants of shape (n,), by the map's knots."""
    return host_times(peer_ns, clock), bounds(peer_ns, clock)


def host_times(peer_ns: np.ndarray, clock: ClockMap) -> np.ndarray:
    """Return the host's time of peer instants, int64 of shape (n,), without their bounds."""
    knots = clock.knots
    shift = np.array([knot.host_ns - knot.peer_ns for knot in knots], dtype=np.float64)
    x, knot_x = _since_first(peer_ns, clock)
    offset = np.interp(x, knot_x, shift - shift[0])
    for outside, knot, edge in ((x < knot_x[0], knots[0], 0), (x > knot_x[-1], knots[-1], -1)):
        if outside.any():
            offset[outside] = shift[edge] - shift[0] + (x[outside] - knot_x[edge]) * (knot.rate - 1)
    return peer_ns + np.int64(round(shift[0])) + np.round(offset).astype(np.int64)


def bounds(peer_ns: np.ndarray, clock: ClockMap) -> np.ndarray:
    """Return the bound of each instant's place: the larger of the two knots around it, growing beyond the first and the last."""
    x, knot_x = _since_first(peer_ns, clock)
    known = np.array([knot.bound_ns for knot in clock.knots])
    after = np.clip(np.searchsorted(knot_x, x, side="right"), 0, len(knot_x) - 1)
    bound = np.maximum(known[np.clip(after - 1, 0, None)], known[after])
    for outside, edge in ((x < knot_x[0], 0), (x > knot_x[-1], -1)):
        if outside.any():
            away = x[outside] - knot_x[edge]
            bound[outside] = known[edge] + np.abs(away) * _growth(clock, clock.knots[edge].peer_ns, away[0])
    return bound


def _since_first(peer_ns: np.ndarray, clock: ClockMap) -> tuple[np.ndarray, np.ndarray]:
    """Instants and knots in nanoseconds since the first knot: small enough for a float to be exact."""
    at_ns = np.array([knot.peer_ns for knot in clock.knots], dtype=np.int64)
    return (peer_ns - at_ns[0]).astype(np.float64), (at_ns - at_ns[0]).astype(np.float64)


def _growth(clock: ClockMap, edge_ns: int, away_ns: float) -> float:
    """How fast the bound grows beyond the first or the last knot, per nanosecond."""
    step_ns = 1_000_000_000 if away_ns > 0 else -1_000_000_000
    return (clock.to_host_ns(edge_ns + step_ns)[1] - clock.to_host_ns(edge_ns)[1]) / abs(step_ns)
