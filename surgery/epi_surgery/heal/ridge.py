"""A linear layer re-solved in closed form: new weights that make up for what is missing behind it.

Over calibration tokens with inputs X (token, in), missing outputs M (token, out) and the present weights W (out, in), the
healed weights V minimise |X (V - W)^T - M|^2 + strength * mean diagonal of X^T X * |V - W|^2. Inputs are summed up as they
come, so memory does not grow with the number of tokens.
"""

import torch
from torch import Tensor, nn


class Normal:
    """The normal equations of one linear layer, in float64: (in, in) and (in, out) numbers."""

    def __init__(self, linear: nn.Linear) -> None:
        self._linear = linear
        # A head that only fills up its group has zero columns, and is to stay that way.
        self._live = linear.weight.detach().abs().sum(dim=0) > 0
        self._gram = torch.zeros(linear.in_features, linear.in_features, dtype=torch.float64)
        self._cross = torch.zeros(linear.in_features, linear.out_features, dtype=torch.float64)

    def add(self, inputs: Tensor, missing: Tensor) -> None:
        """Some tokens: the layer's inputs (…, in), and what its outputs lack (…, out)."""
        rows = (inputs * self._live).flatten(0, -2).double()
        self._gram += (rows.T @ rows).cpu()
        self._cross += (rows.T @ missing.flatten(0, -2).double()).cpu()

    def healed(self, strength: float) -> Tensor:
        """The new weights, in the layer's own type; those of inputs that were always zero stay as they are."""
        weight = self._linear.weight
        diagonal = self._gram.diagonal()
        used = diagonal > 0
        if not bool(used.any()):
            return weight.detach().clone()
        damping = strength * float(diagonal[used].mean())
        change = torch.linalg.solve(self._gram + damping * torch.eye(len(diagonal), dtype=torch.float64), self._cross)
        return (weight.double().cpu() + change.T).to(weight)
