"""Scores as orders: ranks, their averages, and Spearman's correlation. Plain numpy."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epi_surgery.norms import Scores

Row = npt.NDArray[np.float64]


def flat(scores: Scores) -> Row:
    """All heads in one row, layer by layer."""
    return np.concatenate([np.asarray(row, dtype=np.float64) for row in scores])


def like(values: Sequence[float] | Row, shape: Scores) -> Scores:
    """One row of numbers cut into the layers of `shape`."""
    ends = np.cumsum([len(row) for row in shape])[:-1]
    return tuple(tuple(float(value) for value in part) for part in np.split(np.asarray(values), ends))


def ranks(values: Row) -> Row:
    """Ranks from 0, ties sharing their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count + 1) / 2)[place]


def rank_average(several: Sequence[Scores]) -> Scores:
    """The mean rank of each head over several scores: agreement without agreeing on a scale."""
    return like(np.mean([ranks(flat(scores)) for scores in several], axis=0), several[0])


def spearman(one: Scores, other: Scores) -> float:
    """Rank correlation over all heads, -1 to 1; NaN where one side does not order anything."""
    first, second = ranks(flat(one)), ranks(flat(other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def relative_to_layer(scores: Scores) -> Scores:
    """Each score divided by its layer's mean: layers of small numbers are then no cheaper than others."""
    return tuple(tuple(value / mean if (mean := sum(row) / len(row)) else 0.0 for value in row) for row in scores)


def standardised(scores: Scores) -> Scores:
    """Each layer's scores with mean 0 and standard deviation 1, as FLAP compares layers (An et al. 2024)."""
    return tuple(tuple(((np.asarray(row) - np.mean(row)) / (np.std(row) or 1.0)).tolist()) for row in scores)


def protected(scores: Scores, layers: Sequence[int]) -> Scores:
    """The same order with every head of `layers` above all others."""
    everything = flat(scores)
    lift = float(np.ptp(everything)) + 1.0
    return tuple(tuple(value + lift for value in row) if layer in layers else row for layer, row in enumerate(scores))


def lowest(scores: Scores, n_heads: int) -> tuple[tuple[int, ...], ...]:
    """The heads of each layer that are among the `n_heads` lowest of the model; of equals the earlier layer's first."""
    order = sorted((score, layer, head) for layer, row in enumerate(scores) for head, score in enumerate(row))
    chosen: list[list[int]] = [[] for _ in scores]
    for _, layer, head in order[:n_heads]:
        chosen[layer].append(head)
    return tuple(tuple(sorted(heads)) for heads in chosen)
