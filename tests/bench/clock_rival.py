"""What Lab Streaming Layer would have made of the same clocks over the same link: liblsl's own probing, pyxdf's own correction.

liblsl measures a stream's offset with eight probes 64 ms apart, takes the quickest, and needs six of them; a recorder asks for
it every five seconds. pyxdf fits lines to these offsets, with resets of the clock as breaks.
"""

from __future__ import annotations

import logging
import random

import numpy as np
from clock_world import Boot, Link, S

PROBES, PROBE_NS, EVERY_NS, FEWEST = 8, 64_000_000, 5 * S, 6
LONGEST_NS = 128_000_000


def offsets(rng: random.Random, boot: Boot, link: Link, lost: float) -> tuple[list[float], list[float]]:
    """Return (clock_times, clock_values) as LabRecorder writes them, in seconds: stream time, and host minus stream."""
    times, values = [], []
    for at_ns in range(boot.begin_ns, boot.end_ns - S, EVERY_NS):
        probes = [_probe(rng, boot, link, at_ns + k * PROBE_NS) for k in range(PROBES) if rng.random() >= lost]
        good = [(rtt, peer, offset) for rtt, peer, offset in probes if 0 <= rtt < LONGEST_NS]
        if len(good) >= FEWEST:
            _rtt, peer_ns, offset_ns = min(good)
            times.append(peer_ns / S)
            values.append(offset_ns / S)
    return times, values


def _probe(rng: random.Random, boot: Boot, link: Link, at_ns: int) -> tuple[int, int, float]:
    sent = boot.awake(at_ns)
    arrives = boot.awake(sent + link.there(rng))
    comes = boot.awake(arrives + 20_000 + link.back(rng))
    t1, t4, t2 = boot.host_ns(sent), boot.host_ns(comes), boot.peer_ns(arrives)
    t3 = boot.peer_ns(arrives + 20_000)
    return (t4 - t1) - (t3 - t2), t2, (t1 + t4) / 2 - (t2 + t3) / 2


def corrected_s(times: list[float], values: list[float], stamps_s: np.ndarray) -> np.ndarray:
    """Return what pyxdf makes of time stamps (n,) in the stream's clock, in order, less a common origin."""
    from pyxdf import pyxdf

    about = {"channel_count": ["1"], "nominal_srate": ["0"], "channel_format": ["double64"]}
    stream = pyxdf.StreamData({"info": about})
    stream.clock_times, stream.clock_values, stream.time_stamps = times, values, stamps_s.copy()
    logging.getLogger("pyxdf").setLevel(logging.ERROR)
    pyxdf._clock_sync({1: stream})
    return np.asarray(stream.time_stamps)
