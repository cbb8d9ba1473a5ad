"""`make bench-clocks`: how far the clock map is from the truth, and whether its bounds hold, over many simulated hours.

Beside it what Lab Streaming Layer (liblsl's probing, pyxdf's correction) makes of the same clocks over the same links.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from clock_rival import corrected_s, offsets
from clock_world import Boot, Faults, Link, S, draw_boot, exchanges, network, usb

from epid.clocks import ClockEstimator, ClockMap

LINKS: dict[str, Callable[[random.Random], Link]] = {"board on USB": usb, "node on the network": network}
SAMPLES = 4000


@dataclass
class Score:
    """Errors and bounds in ns of one method; `gaps`: instants inside marked gaps, which do not count."""

    errors: list[float] = field(default_factory=list)
    bounds: list[float] = field(default_factory=list)
    gaps: int = 0

    def row(self, link: str, method: str) -> dict[str, float | str | None]:
        """The figures that the table shows, microseconds."""
        ordered = sorted(self.errors)
        holds = [error <= bound for error, bound in zip(self.errors, self.bounds, strict=False)]
        return {
            "link": link,
            "method": method,
            "p50_us": statistics.median(ordered) / 1e3,
            "p95_us": ordered[int(0.95 * len(ordered))] / 1e3,
            "max_us": ordered[-1] / 1e3,
            "bound_p50_us": statistics.median(self.bounds) / 1e3 if self.bounds else None,
            "holds": sum(holds) / len(holds) if holds else None,
            "bound_over_error": statistics.median(self.bounds) / statistics.median(ordered) if self.bounds else None,
            "in_gaps": self.gaps / (self.gaps + len(ordered)),
        }


def measure(asked: argparse.Namespace, draw_link: Callable[[random.Random], Link], quiet: bool) -> list[Score]:
    """Return the scores of the map and of its rival over a peer that starts again and again."""
    rng, boots = random.Random(asked.seed), asked.boots
    ours, theirs = Score(), Score()
    for number in range(boots):
        length_ns = int(asked.hours * 3600 * S / boots)
        boot, link = draw_boot(rng, number * length_ns, (number + 1) * length_ns, quiet), draw_link(rng)
        recorded, _pinger = exchanges(rng, boot, link)
        estimator = ClockEstimator()
        for exchange in recorded:
            estimator.add(exchange)
        fitted = estimator.fit()
        assert fitted is not None
        instants = draw_instants(rng, boot, SAMPLES // boots)
        _score_map(ours, fitted, boot, instants)
        if not asked.no_lsl:
            _score_rival(theirs, fitted, boot, instants, *offsets(rng, boot, link, Faults().lost))
    return [ours, theirs]


def draw_instants(rng: random.Random, boot: Boot, n: int) -> list[int]:
    """Instants at which both are awake, away from the very ends, where no exchange has been yet or will be any more."""
    drawn = (rng.randrange(boot.begin_ns + 3 * S, boot.end_ns - 3 * S) for _ in range(n))
    return sorted(true_ns for true_ns in drawn if boot.awake(true_ns) == true_ns)


def _score_map(score: Score, fitted: ClockMap, boot: Boot, instants: list[int]) -> None:
    for true_ns in instants:
        peer_ns = boot.peer_ns(true_ns)
        estimate_ns, bound_ns = fitted.to_host_ns(peer_ns)
        if _in_gap(fitted, peer_ns):
            score.gaps += 1
            continue
        score.errors.append(abs(estimate_ns - boot.host_ns(true_ns)))
        score.bounds.append(bound_ns)


def _score_rival(
    score: Score, fitted: ClockMap, boot: Boot, instants: list[int], times: list[float], values: list[float]
) -> None:
    base_s = boot.peer_ns(boot.begin_ns) // S
    shown_ns = [boot.peer_ns(true_ns) for true_ns in instants]
    stamps_s = np.array([(peer_ns - base_s * S) / S for peer_ns in shown_ns])
    host_s = corrected_s([time - base_s for time in times], [value + base_s for value in values], stamps_s)
    for true_ns, peer_ns, found_s in zip(instants, shown_ns, host_s, strict=True):
        if _in_gap(fitted, peer_ns):
            score.gaps += 1
        else:
            score.errors.append(abs(float(found_s) * S - boot.host_ns(true_ns)))


def _in_gap(fitted: ClockMap, peer_ns: int) -> bool:
    return any(gap.begin_ns <= peer_ns <= gap.end_ns for gap in fitted.gaps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/clocks.py --hours 24 --seed 1")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours per link (24)")
    parser.add_argument("--boots", type=int, default=24, help="times that each peer starts (24); each start is another link")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-lsl", action="store_true", help="leave Lab Streaming Layer out")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    for name, link in LINKS.items():
        rows += rows_of(name, link, True, asked) + rows_of(f"{name} *", link, False, asked)
    if asked.json:
        print(json.dumps(rows))
        return
    print(f"{asked.hours:g} simulated hours a line, {asked.boots} starts, seed {asked.seed}; answers get lost, late, doubled\n")
    heads = ("link", "method", "p50 µs", "p95 µs", "max µs", "bound p50", "holds", "bound/err", "in gaps")
    print("{:<22} {:<11} {:>10} {:>10} {:>12} {:>10} {:>8} {:>9} {:>8}".format(*heads))
    for row in rows:
        print(line_of(row))
    print("\n* host and peer sleep, and the peer's clock jumps, once each per start")


def line_of(row: dict[str, float | str | None]) -> str:
    """One line of the table."""
    line = f"{row['link']:<22} {row['method']:<11} {row['p50_us']:10.1f} {row['p95_us']:10.1f} {row['max_us']:12.1f} "
    if row["holds"] is None:
        return f"{line}{'none':>10}"
    return f"{line}{row['bound_p50_us']:10.1f} {row['holds']:8.2%} {row['bound_over_error']:9.2f} {row['in_gaps']:8.2%}"


def rows_of(
    name: str, draw_link: Callable[[random.Random], Link], quiet: bool, asked: argparse.Namespace
) -> list[dict[str, float | str | None]]:
    """The lines of the table for one link."""
    ours, theirs = measure(asked, draw_link, quiet)
    rows = [ours.row(name, "epid")]
    return rows if asked.no_lsl else [*rows, theirs.row(name, "LSL, pyxdf")]


if __name__ == "__main__":
    main()
