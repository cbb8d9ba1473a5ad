"""Drift over a study, and the saving with temperature and order held equal: analysis of covariance on single runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from ..interval import Interval
from ..summary import Summary
from .arm import Arm, decode_j
from .verdict import ALPHA, Verdict

FEWEST_FREEDOM = 2
_TEST = f"t test of the slope of log joules per token over the order of runs, arms apart; alpha {ALPHA:g}"


def drift(baseline: Arm, arm: Arm) -> Verdict:
    """Whether joules per token drifted while the two arms were recorded."""
    runs, pruned = _ordered(baseline, arm)
    fit = _least_squares(_design(pruned, [np.arange(len(runs), dtype=float)]), _response(runs))
    if fit is None:
        return Verdict("undecided", "too few runs to see a drift", _TEST, 3)
    slope, error, freedom = float(fit[0][2]), float(fit[1][2]), fit[2]
    p = 2 * float(student.sf(abs(slope) / error, freedom)) if error > 0 else 1.0
    shown = f"{slope * (len(runs) - 1):+.2%} from the first run to the last, p {p:.3f}"
    if p < ALPHA:
        return Verdict("drift", f"joules per token drifted: {shown}; an interleaved order keeps it out of the comparison", _TEST)
    return Verdict("none", f"no drift to be seen: {shown}", _TEST)


def adjusted_saving(baseline: Arm, arm: Arm) -> Interval:
    """1 - pruned / baseline with the runs' mean temperature and their order as covariates."""
    runs, pruned = _ordered(baseline, arm)
    celsius = np.array([run.temperature_c for run in runs])
    covariates = [np.arange(len(runs), dtype=float)]
    if np.isfinite(celsius).all() and np.ptp(celsius) > 0:
        covariates.append(celsius)
    fit = _least_squares(_design(pruned, covariates), _response(runs))
    if fit is None:
        return Interval.missing(
            "too few runs, or arms that lie apart in order or temperature: covariates cannot be told from them"
        )
    log, half = float(fit[0][1]), float(student.isf(0.025, fit[2])) * float(fit[1][1])
    return Interval(1 - math.exp(log), 1 - math.exp(log + half), 1 - math.exp(log - half))


def _ordered(baseline: Arm, arm: Arm) -> tuple[list[Summary], np.ndarray]:
    """The runs of both arms as they were recorded, and which of them are pruned."""
    runs = [(run, is_pruned) for each, is_pruned in ((baseline, False), (arm, True)) for run in each.runs]
    runs.sort(key=lambda pair: (pair[0].run.metadata.get("utc", ""), int(pair[0].spans.columns["begin_ns"].min())))
    return [run for run, _ in runs], np.array([is_pruned for _, is_pruned in runs], dtype=float)


def _response(runs: Sequence[Summary]) -> np.ndarray:
    return np.log([decode_j(run) for run in runs])


def _design(pruned: np.ndarray, covariates: Sequence[np.ndarray]) -> np.ndarray:
    centred = [(values - values.mean()) for values in covariates]
    return np.column_stack([np.ones(len(pruned)), pruned, *centred])


def _least_squares(design: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(coefficients, standard errors, degrees of freedom); None where the design does not carry them."""
    freedom = len(response) - design.shape[1]
    scaled = design / np.maximum(np.linalg.norm(design, axis=0), 1e-12)
    if freedom < FEWEST_FREEDOM or not np.isfinite(response).all() or np.linalg.cond(scaled) > 30:
        return None
    found, *_rest = np.linalg.lstsq(design, response, rcond=None)
    residual = response - design @ found
    covariance = np.linalg.inv(design.T @ design) * float(residual @ residual) / freedom
    return found, np.sqrt(np.diag(covariance)), freedom
