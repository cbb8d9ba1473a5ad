"""Trainable gates: which heads can be closed together, learnt with the weights frozen.

Each head (or each KV group) has one number, log a. A forward pass draws its gate from a hard-concrete distribution
(Louizos et al. 2018), which is exactly 0 or 1 with positive probability and has a gradient all the same:

    z = clamp(sigmoid((log u - log(1 - u) + log a) / beta) * (zeta - gamma) + gamma, 0, 1),   u uniform in (0, 1)

The loss is the mean loss per token plus `weight` times the expected number of open gates. The score is log a at the end.
Other criteria judge heads one by one; this one sees what happens when many are gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from epi_surgery.model.gates import gated
from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import logits, token_losses
from epi_surgery.norms import Scores

_BETA, _GAMMA, _ZETA = 1 / 3, -0.1, 1.1  # the published temperature and stretch


@dataclass(frozen=True)
class Training:
    """How gates are trained: `weight` per open gate against nats per token, Adam's `rate`, log a at the `start`."""

    steps: int = 200
    batch: int = 1
    weight: float = 0.01
    rate: float = 0.1
    start: float = 2.0
    seed: int = 0


def gate_scores(loaded: Loaded, windows: Tensor, groups: bool, training: Training, advance: Callable[[int], None]) -> Scores:
    """log a per query head; with `groups` one gate per KV group, every head of it scored alike."""
    sizes = [layer.n_kv if groups else layer.n_head for layer in loaded.layers]
    log_a = [torch.full((n,), training.start, device=loaded.device, requires_grad=True) for n in sizes]
    optimiser = torch.optim.Adam(log_a, lr=training.rate)
    generator = torch.Generator(device=loaded.device).manual_seed(training.seed)
    order = _batches(len(windows), training)
    for batch in order:
        optimiser.zero_grad()
        _backward(loaded, windows[batch], log_a, groups, training.weight, generator)
        optimiser.step()
        advance(1)
    per_head = [_per_head(layer.group, values.detach(), groups) for layer, values in zip(loaded.layers, log_a, strict=True)]
    return tuple(tuple(values.tolist()) for values in per_head)


def _backward(
    loaded: Loaded, windows: Tensor, log_a: list[Tensor], groups: bool, weight: float, generator: torch.Generator
) -> None:
    drawn = [draw_gates(values, generator) for values in log_a]
    gates = [_per_head(layer.group, gate, groups) for layer, gate in zip(loaded.layers, drawn, strict=True)]
    # In heads, so that one weight means the same at both levels.
    n_open = torch.cat([_per_head(layer.group, expected_open(a), groups) for layer, a in zip(loaded.layers, log_a, strict=True)])
    # The way back belongs inside too: an offloaded layer is computed again there.
    with torch.enable_grad(), gated(loaded.layers, gates):
        (token_losses(logits(loaded, windows), windows).mean() + weight * n_open.sum()).backward()


def draw_gates(log_a: Tensor, generator: torch.Generator) -> Tensor:
    """One draw per gate, in [0, 1]."""
    uniform = torch.rand(log_a.shape, generator=generator, device=log_a.device).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid((uniform.logit() + log_a) / _BETA)
    return (soft * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)


def expected_open(log_a: Tensor) -> Tensor:
    """The probability that a gate is not exactly 0."""
    return torch.sigmoid(log_a - _BETA * log(-_GAMMA / _ZETA))


def _batches(n_windows: int, training: Training) -> list[Tensor]:
    # Every window once before any comes twice.
    generator = torch.Generator().manual_seed(training.seed)
    n_rounds = -(-training.steps * training.batch // n_windows)
    order = torch.cat([torch.randperm(n_windows, generator=generator) for _ in range(n_rounds)])
    return list(order[: training.steps * training.batch].split(training.batch))


def _per_head(group: int, values: Tensor, groups: bool) -> Tensor:
    return values.repeat_interleave(group) if groups else values
