"""Experiments with a hidden truth that nobody has tuned: every coefficient drawn anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from epi_tools.simrun.decoder import model_map
from epi_tools.simrun.expected import expected, removed_shares
from epi_tools.simrun.truth import Truth

STORIES = ("none", "partial", "full", "shift")
"""What the cut arm truly does: save all of what its work is worth, half of it, nothing, or draw 5 % more than expected."""

SHIFT = 0.05
UTC = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class World:
    """One experiment: a baseline and a cut arm, and what is true of them. `repeated`: whether layers were computed again."""

    number: int
    story: str
    repeated: bool
    baseline: Truth
    pruned: Truth
    j_per_token: dict[str, float]
    saving: float


def draw_world(number: int, seed: int, *, halves: bool = False) -> World:
    """Draw the truth of one experiment; the story and whether layers repeat follow from its number.

    With `halves` it is the same world, but every second repeat is of the attention half alone.
    """
    rng = np.random.default_rng([seed, number])
    story, repeated = STORIES[number % 4], number // 4 % 2 == 0
    baseline = _baseline(rng, repeated).changed(workload={"repeat_halves": halves})
    pruned = replace(baseline.changed(model={"pruned": float(rng.choice([0.25, 0.5]))}), arm="pruned")
    pruned = pruned.changed(accuracy={"value": baseline.accuracy.value * rng.uniform(0.85, 1.0)})
    plain_j = expected_j(baseline, seed + number)
    wanted_j = plain_j * (1 - _wanted_saving(story, removed_share(pruned)))
    pruned = _with_rise(pruned, seed + number, wanted_j)
    found_j = expected_j(pruned, seed + number)
    return World(number, story, repeated, baseline, pruned, {"baseline": plain_j, "pruned": found_j}, 1 - found_j / plain_j)


def removed_share(pruned: Truth) -> float:
    """Share of the work that the cut removed, as its plan has it: bytes read, which a small machine is limited by."""
    return removed_shares(model_map(pruned, None)["plan"])["bytes"]


def expected_j(truth: Truth, seed: int) -> float:
    """Joules per token of this arm without any noise."""
    return float(expected(truth, seed)["j_per_token"])


def _baseline(rng: np.random.Generator, repeated: bool) -> Truth:
    idle_w = rng.uniform(2.4, 4.2)
    return Truth().changed(
        model={"n_layer": int(rng.integers(4, 9))},
        workload={
            "requests": int(rng.integers(2, 4)),
            "prompt_tokens": int(rng.integers(16, 96)),
            "tokens": int(rng.integers(70, 130)),
            "repeats": 2 if repeated else 0,
            "idle_s": float(rng.uniform(4, 7)),
            "pattern_s": 6.0,
        },
        timing={
            "attention_us": float(rng.uniform(1500, 4000)),
            "ffn_us": float(rng.uniform(2500, 6000)),
            "head_us": float(rng.uniform(800, 4000)),
            "attention_us_per_position": float(rng.uniform(0, 6)),
            "jitter": float(rng.uniform(0.005, 0.04)),
            "token_jitter": float(rng.uniform(0.0, 0.03)),
            "run_spread": float(rng.uniform(0.0, 0.003)),
        },
        power={
            "idle_w": float(idle_w),
            "attention_w": float(rng.uniform(2.5, 6)),
            "ffn_w": float(rng.uniform(3, 7)),
            "other_w": float(rng.uniform(1.5, 5)),
            "layer_spread": float(rng.uniform(0.0, 0.2)),
            "run_spread": float(rng.uniform(0.0, 0.004)),
            "leak_w_per_c": float(rng.uniform(0.0, 0.012)),
            "noise_w": float(rng.uniform(0.01, 0.15)),
            "noise_s": float(rng.uniform(0.2, 2.0)),
            "prefill_factor": float(rng.uniform(0.95, 1.3)),
        },
        accuracy={"value": float(rng.uniform(0.35, 0.9)), "n": int(rng.integers(500, 8000))},
        meter={
            "sample_hz": int(rng.choice([10, 20])),
            "gain_within": float(rng.uniform(0.0005, 0.005)),
            "refresh_ms": float(rng.choice([20.0, 40.0, 80.0])),
            "window_ms": float(rng.choice([160.0, 320.0, 480.0])),
            "noise_w": float(rng.uniform(0.002, 0.03)),
        },
        clocks={
            "node_ppm": float(rng.uniform(-40, 40)),
            "board_ppm": float(rng.uniform(-40, 40)),
            "usb_ms": float(rng.uniform(0.2, 2.0)),
            "net_ms": float(rng.uniform(0.1, 1.0)),
        },
    )


def _wanted_saving(story: str, share: float) -> float:
    return {"none": share, "partial": share / 2, "full": 0.0, "shift": share - SHIFT}[story]


def _with_rise(pruned: Truth, seed: int, wanted_j: float) -> Truth:
    """Let the cut arm's layers draw so much more that it comes to `wanted_j`: joules are all but linear in the rise."""
    low, high = (expected_j(pruned.changed(power={"rise": rise}), seed) for rise in (0.0, 0.5))
    return pruned.changed(power={"rise": 0.5 * (wanted_j - low) / (high - low)})
