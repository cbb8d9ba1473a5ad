"""A linear layer that takes the short way for a single row, as every one is while decoding.

A general matrix product prepares for many rows: one row of bfloat16 on a CPU takes it 1.2 to 1.5 times as long as a
matrix-vector product. In float32 both take the same, and other devices choose for themselves.
"""

import torch
from torch import Tensor, nn


class Projection(nn.Linear):
    """As nn.Linear, the same to a rounding."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        if input.numel() != self.in_features or self.weight.dtype != torch.bfloat16 or self.weight.device.type != "cpu":
            return super().forward(input)
        row = input.reshape(-1)
        out = torch.mv(self.weight, row) if self.bias is None else torch.addmv(self.bias, self.weight, row)
        return out.view(*input.shape[:-1], -1)


def projection(weight: nn.Parameter, bias: nn.Parameter | None) -> Projection:
    """A projection with these very parameters."""
    found = Projection(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    found.weight = weight
    if bias is not None:
        found.bias = bias
    return found


def use_projections(model: nn.Module) -> None:
    """Put a Projection with the same parameters in the place of every linear layer of the model."""
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if type(child) is nn.Linear:
                setattr(owner, name, projection(child.weight, child.bias))
