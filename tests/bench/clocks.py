"""`make bench-clocks`: how far the clock map is from the truth, and whether its bounds hold, over many simulated hours."""

from __future__ import annotations

import argparse
import json
import random
import statistics

from clock_world import Delay, live, network, usb_read, usb_write

from epid.clocks import ClockEstimator

HOUR_NS = 3_600_000_000_000
LINKS: dict[str, tuple[Delay, Delay]] = {"board on USB": (usb_write, usb_read), "node on the network": (network, network)}


def errors_of(rng: random.Random, hours: float, link: tuple[Delay, Delay], boots: int) -> tuple[list[float], list[float]]:
    """Errors and bounds in ns at random instants of a peer that restarts `boots` - 1 times."""
    errors, bounds = [], []
    for boot in range(boots):
        begin_ns = int(boot * hours * HOUR_NS / boots)
        segment = live(rng, begin_ns, int((boot + 1) * hours * HOUR_NS / boots), *link)
        estimator = ClockEstimator()
        for exchange in segment.exchanges:
            estimator.add(exchange)
        fitted = estimator.fit()
        assert fitted is not None
        first, last = segment.exchanges[0].t1, segment.exchanges[-1].t4
        for _ in range(2000):
            host_ns = rng.randrange(first, last)
            estimate_ns, bound_ns = fitted.to_host_ns(segment.peer_ns(host_ns))
            errors.append(abs(estimate_ns - host_ns))
            bounds.append(bound_ns)
    return errors, bounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/clocks.py --hours 24 --seed 1")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours per link (24)")
    parser.add_argument("--boots", type=int, default=4, help="times that each peer starts (4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [row(name, link, asked) for name, link in LINKS.items()]
    if asked.json:
        print(json.dumps(rows))
        return
    print(f"{asked.hours:g} simulated hours, seed {asked.seed}\n")
    print(f"{'link':<22} {'p50 µs':>8} {'p95 µs':>8} {'max µs':>8} {'bound p50 µs':>13} {'holds':>8} {'bound/error':>12}")
    for r in rows:
        print(
            f"{r['link']:<22} {r['p50_us']:8.1f} {r['p95_us']:8.1f} {r['max_us']:8.1f} {r['bound_p50_us']:13.1f} "
            f"{r['holds']:8.2%} {r['bound_over_error']:12.2f}"
        )


def row(name: str, link: tuple[Delay, Delay], asked: argparse.Namespace) -> dict[str, float | str]:
    """One line of the table."""
    errors, bounds = errors_of(random.Random(asked.seed), asked.hours, link, asked.boots)
    ordered = sorted(errors)
    return {
        "link": name,
        "p50_us": statistics.median(errors) / 1e3,
        "p95_us": ordered[int(0.95 * len(ordered))] / 1e3,
        "max_us": ordered[-1] / 1e3,
        "bound_p50_us": statistics.median(bounds) / 1e3,
        "holds": sum(error <= bound for error, bound in zip(errors, bounds, strict=True)) / len(errors),
        "bound_over_error": statistics.median(bounds) / statistics.median(errors),
    }


if __name__ == "__main__":
    main()
