"""AttnLRP's rules (Achtibat et al. 2024, ICML) as a context manager: while it is open, gradient * input is relevance.

    norms               the divisor counts as a constant (the identity rule)
    activation          y = f(x) passes relevance on as if it were y/x * x (the identity rule)
    gate * up           half of the relevance to each factor (the uniform rule)
    softmax             its gradient is its rule already
    weights * values    half to each, and query * key again half to each: q and k / 4, v / 2

LRP is a patented technology whose owners allow its free use for personal and scientific purposes only. An implementation
of one's own does not change that: for other purposes choose another criterion.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from epi_surgery.model.load import Loaded
from epi_surgery.model.open_attention import OnWeights, open_attention


@contextmanager
def lrp_rules(loaded: Loaded, on_weights: OnWeights) -> Iterator[None]:
    """Propagate relevance instead of gradients; `on_weights` sees each layer's attention weights on the way forward."""
    with ExitStack() as stack:
        stack.enter_context(open_attention(loaded, on_weights, _split_attention))
        for module in loaded.model.modules():
            if type(module).__name__.endswith("RMSNorm"):
                stack.enter_context(_replaced(module, _norm))
            elif hasattr(module, "gate_proj") and hasattr(module, "down_proj"):
                stack.enter_context(_replaced(module, _feed_forward))
        yield


def _norm(module: nn.Module, hidden: Tensor) -> Tensor:
    values = hidden.float()
    scale = torch.rsqrt(values.square().mean(-1, keepdim=True) + module.variance_epsilon).detach()
    return module.weight * (values * scale).to(hidden.dtype)


def _feed_forward(module: nn.Module, hidden: Tensor) -> Tensor:
    before = module.gate_proj(hidden)
    after = module.act_fn(before)
    # Where x is 0 the activation is 0 too, and any ratio gives the right relevance of 0.
    ratio = (after / torch.where(before == 0, 1.0, before)).detach()
    return module.down_proj(_weakened(before * ratio * module.up_proj(hidden), 2.0))


def _split_attention(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _weakened(query, 4.0), _weakened(key, 4.0), _weakened(value, 2.0)


def _weakened(values: Tensor, divisor: float) -> Tensor:
    """The same values, with gradients divided on the way back."""
    part = values / divisor
    return part + (values - part).detach()


@contextmanager
def _replaced(module: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor]) -> Iterator[None]:
    # An offloaded module's forward is accelerate's, which brings the weights and then calls the one it keeps aside.
    name = "_old_forward" if hasattr(module, "_old_forward") else "forward"
    before = module.__dict__.get(name)
    setattr(module, name, lambda hidden: forward(module, hidden))
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)
        else:
            setattr(module, name, before)
