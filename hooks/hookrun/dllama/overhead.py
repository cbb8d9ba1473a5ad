"""What the shim costs distributed-llama: the same command with and without it, round by round in random order.

The program cannot be told to switch it off while it runs, so a round is two runs of it. Compared are the times from the first
token's record to the last one's, as they arrive here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..comparison import spread, spread_text
from ..errors import HookrunError

FEWEST_TOKENS = 3


def compare(
    bare: Callable[[], list[int]],
    measured: Callable[[], list[int]],
    rounds: int,
    order: random.Random,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Run both `rounds` times, and once before that does not count; each returns the arrival of each token in nanoseconds."""
    ratios, per_token_ns = [], []
    for number in range(rounds + 1):
        both = [bare, measured]
        order.shuffle(both)
        took_ns = {run: _per_token_ns(run()) for run in both}
        if number:
            ratios.append(took_ns[bare] / took_ns[measured])
            per_token_ns.append(took_ns[bare])
        progress(number, rounds)
    return {"rounds": rounds, "ratio": asdict(spread(ratios)), "token_ms": spread(per_token_ns).median / 1e6}


def as_text(result: dict[str, Any]) -> str:
    """Return the comparison as a line."""
    return (
        f"shim: {spread_text(result['ratio'])} of the tokens/s without it, median [95 % interval] of {result['rounds']} rounds; "
        f"{result['token_ms']:.3f} ms per token without it"
    )


def _per_token_ns(arrivals_ns: list[int]) -> float:
    if len(arrivals_ns) < FEWEST_TOKENS or arrivals_ns[-1] <= arrivals_ns[0]:
        raise HookrunError(f"the {len(arrivals_ns)} tokens of a run are over too soon to be timed; raise the program's --steps")
    return (arrivals_ns[-1] - arrivals_ns[0]) / (len(arrivals_ns) - 1)
