"""The proof of a cut: its logits against those of the original with the same heads set to zero.

Removed terms are exact zeros in the twin, so the difference is exactly 0 wherever the engine sums whole heads at a time;
other shapes may round differently in the last bits. A control guards against a proof that cannot fail: the unmasked
original has to differ from the cut by far more than the tolerance.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epi_surgery.engine import EngineRun, run_models
from epi_surgery.errors import ProofFailed

TOLERANCE = 1e-4
_CONTROL_FACTOR = 100
_N_PROMPT = 20
_N_DECODE = 8


@dataclass(frozen=True)
class Proof:
    """Largest |difference| of any logit: cut against masked twin, and cut against the unmasked original (the control)."""

    n_prompt: int
    n_decode: int
    max_abs_delta: float
    control_max_abs_delta: float
    tolerance: float = TOLERANCE


def prove(twin: Path, cut: Path, original: Path) -> Proof:
    """Run all three; raises ProofFailed where the cut differs from the twin, or the control does not."""
    masked, pruned, control = run_models(
        {"the masked twin": twin, "the cut model": cut, "the original": original}, _N_PROMPT, _N_DECODE
    )
    return checked(Proof(_N_PROMPT, _N_DECODE, _distance(masked, pruned), _distance(control, pruned)))


def checked(proof: Proof) -> Proof:
    """The proof itself; raises ProofFailed where it does not hold or could not have failed."""
    if not proof.max_abs_delta <= TOLERANCE:
        raise ProofFailed(
            f"the cut model does not compute what the masked original does: logits differ by up to {proof.max_abs_delta:.3g} "
            f"(at most {TOLERANCE:g} is allowed); nothing was written"
        )
    if not proof.control_max_abs_delta >= _CONTROL_FACTOR * TOLERANCE:
        raise ProofFailed(
            f"the proof has no power: the unpruned original differs from the cut by only {proof.control_max_abs_delta:.3g}, "
            "so the removed heads did nothing; use --no-prove if that is intended"
        )
    return proof


def _distance(one: EngineRun, other: EngineRun) -> float:
    if one.logits.shape != other.logits.shape:
        raise ProofFailed(f"the models answer with different shapes: {one.logits.shape} and {other.logits.shape}")
    return float(np.abs(one.logits - other.logits).max())
