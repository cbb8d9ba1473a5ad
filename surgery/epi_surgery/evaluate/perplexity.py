"""Perplexity of a text, and how far a model's predictions have moved from a baseline's, over windows of equal length."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp

import numpy as np

from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.engine import Engine, Floats, log_softmax
from epi_surgery.evaluate.interval import mean_interval
from epi_surgery.evaluate.prefix_tree import grow


@dataclass(frozen=True)
class Windows:
    """Token sequences of one length; `n_given` of each are context and not predicted."""

    tokens: tuple[tuple[int, ...], ...]
    n_given: int

    @property
    def n_predicted(self) -> int:
        """Predicted tokens over all windows."""
        return sum(len(window) - self.n_given for window in self.tokens)


@dataclass(frozen=True)
class Measured:
    """A value with its 95 % interval over windows, from so many predicted tokens."""

    tokens: int
    value: float
    interval: tuple[float, float]


def windows_of(engine: Engine, text: str, name: str, n_tokens: int, length: int, bos: bool) -> Windows:
    """Consecutive windows from the text's beginning; raises SurgeryError where the text is too short for two."""
    (ids,) = engine.tokenize([text])
    first = [engine.bos] if bos and engine.bos is not None else []
    step = length - len(first)
    count = min(len(ids), n_tokens) // step
    if count < 2:
        raise SurgeryError(
            f"{name}: {min(len(ids), n_tokens):,} tokens are too few for two windows of {length}; use a longer text"
        )
    return Windows(tuple(tuple(first + ids[i * step : (i + 1) * step]) for i in range(count)), 1)


def perplexity(engine: Engine, windows: Windows, advance: Callable[[int], None]) -> Measured:
    """exp of the mean negative log-likelihood; the interval is that of the mean over windows."""
    losses = []
    for window in windows.tokens:
        tree = grow([window])
        losses.append(-float(engine.log_probs(tree, tree.paths[0][windows.n_given :]).astype(np.float64).mean()))
        advance(1)
    low, high = mean_interval(losses)
    return Measured(windows.n_predicted, exp(float(np.mean(losses))), (exp(low), exp(min(high, 700.0))))


def divergence(baseline: Engine, engine: Engine, windows: Windows, advance: Callable[[int], None]) -> Measured:
    """Mean KL(baseline || model) per predicted token in nats, window by window."""
    values = []
    for window in windows.tokens:
        tree = grow([window])
        nodes = tree.paths[0][windows.n_given - 1 : -1]
        values.append(float(_kl(baseline.logits(tree, nodes), engine.logits(tree, nodes)).mean()))
        advance(1)
    return Measured(windows.n_predicted, float(np.mean(values)), mean_interval(values))


def _kl(baseline: Floats, model: Floats) -> Floats:
    if baseline.shape != model.shape:
        raise SurgeryError(f"the baseline has {baseline.shape[1]:,} tokens and the model {model.shape[1]:,}: not one family")
    p, q = log_softmax(baseline).astype(np.float64), log_softmax(model).astype(np.float64)
    return np.asarray((np.exp(p) * (p - q)).sum(axis=-1), dtype=np.float32)
