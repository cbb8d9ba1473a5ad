"""A short distillation: a few steps of training the re-solved projections further, with the uncut model's logits as target.

The loss is the Kullback-Leibler divergence from the uncut model's predictions to the cut one's, per token. For an uncut
model it is zero from the start and nothing moves: as with the closed form, nothing is learnt from the text itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from epi_surgery.errors import SurgeryError
from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import logits


@dataclass(frozen=True)
class Distillation:
    """So many `steps` of Adam, one window each, at a `rate` that falls to zero; no steps, no distillation.

    With `dtype` bfloat16 the steps compute in it, several times faster where the processor can; weights stay as they are.
    """

    steps: int = 0
    rate: float = 1e-4
    dtype: str = "float32"


def distil(
    dense: Loaded, cut: Loaded, windows: Tensor, names: Sequence[str], plan: Distillation, advance: Callable[[int], None]
) -> dict[str, Tensor]:
    """Train the named weights of the cut model in place; returns them by name. `advance` is called once per step."""
    weights = {name: cut.model.get_parameter(name) for name in names}
    with _trainable(list(weights.values())) as parameters:
        # Fused: a quarter of a step's time went into Adam's separate passes over the weights.
        optimiser = torch.optim.Adam(parameters, lr=plan.rate, fused=True)
        slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, max(1, plan.steps))
        for step in range(plan.steps):
            optimiser.zero_grad()
            with torch.autocast(cut.device.type, torch.bfloat16, enabled=plan.dtype == "bfloat16"):
                finite = _backward(dense, cut, windows[step % len(windows)][None])
            if not finite:
                raise SurgeryError(f"distillation diverged at step {step + 1}; lower --rate")
            optimiser.step()
            slower.step()
            advance(1)
    return {name: weight.data for name, weight in weights.items()}


def _backward(dense: Loaded, cut: Loaded, window: Tensor) -> bool:
    """Gradients of the divergence; whether they are finite."""
    with torch.no_grad():
        wanted = logits(dense, window)
    with torch.enable_grad():
        found = logits(cut, window)
    # The slope of the divergence to the logits is q - p. Written out it is exactly zero for equal models; Adam would blow
    # the rounding of a computed loss up to whole steps.
    slope = (found.detach().float().softmax(dim=-1) - wanted.float().softmax(dim=-1)) / window.numel()
    found.backward(slope.to(found))
    return bool(slope.isfinite().all())


@torch.no_grad()
def divergence(dense: Loaded, cut: Loaded, windows: Tensor) -> float:
    """Mean over tokens of sum p ln(p / q), p the uncut model's predictions and q the cut one's, in nats."""
    wanted, found = (logits(loaded, windows).float().log_softmax(dim=-1).flatten(0, 1) for loaded in (dense, cut))
    return float(functional.kl_div(found, wanted, reduction="batchmean", log_target=True))


@contextmanager
def _trainable(weights: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    for weight in weights:
        weight.requires_grad_(True)
    try:
        yield weights
    finally:
        for weight in weights:
            weight.requires_grad_(False)
            weight.grad = None
