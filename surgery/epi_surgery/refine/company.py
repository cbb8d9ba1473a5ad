"""What a head is worth in the company of a cut: by measuring it, and by the gradient to its gate."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from epi_surgery.model.gates import gated, mask_of, masked
from epi_surgery.model.load import Loaded
from epi_surgery.model.loss import loss_behind
from epi_surgery.model.stepwise import embed, logits, run_layers, token_losses
from epi_surgery.progress import Bar
from epi_surgery.refine.exchange import Kept, Unit

# Tokens whose gradients are squared together: long enough to be cheap, short enough for many squares.
_PIECE = 64


class Company:
    """Losses of a model with heads silenced, on some windows: a `Judge`."""

    def __init__(self, loaded: Loaded, windows: Tensor, bar: Bar) -> None:
        self._loaded, self._windows, self._bar = loaded, windows, bar
        self._embedded = embed(loaded, windows)

    @torch.no_grad()
    def loss(self, kept: Kept) -> float:
        """Nats per token."""
        with masked(self._loaded.layers, kept):
            return loss_behind(self._loaded, run_layers(self._loaded, self._embedded), self._windows)

    def promises(self, kept: Kept, units: Sequence[Unit]) -> list[float]:
        """By gradients to gates: to first order for a unit that is gone, to second for one that stays.

        Silencing moves a gate from 1 to 0, so the loss rises by about -g + h / 2, where h is the empirical Fisher information
        (after LeCun et al. 1989). Where a gate is 0, h says nothing of the way up.
        """
        gates = [mask.requires_grad_(True) for mask in self._masks(kept)]
        pieces = [piece for piece in self._windows.split(_PIECE, dim=1) if piece.shape[1] > 1]
        rows = []
        for piece in (row[None] for part in pieces for row in part):
            with torch.enable_grad(), gated(self._loaded.layers, gates):
                token_losses(logits(self._loaded, piece), piece).sum().backward()
            rows.append([sum(_taken(gates[unit.layer])[list(unit.heads)].tolist()) for unit in units])
            for gate in gates:
                gate.grad = None
        slopes = np.array(rows)
        n_predicted = sum(piece[:, 1:].numel() for piece in pieces)
        first, second = slopes.sum(axis=0) / n_predicted, np.square(slopes).sum(axis=0) / n_predicted
        stays = np.array([unit.stays_in(kept) for unit in units])
        return [float(value) for value in -first + np.where(stays, second / 2, 0.0)]

    @torch.no_grad()
    def flipped(self, kept: Kept, units: Sequence[Unit]) -> list[float]:
        """The loss with one unit the other way round, for each; what comes before its layer is computed once."""
        masks, found = self._masks(kept), dict[Unit, float]()
        hidden, at = self._embedded, 0
        with self._bar("trying heads", len(units)) as advance:
            for unit in sorted(units, key=lambda unit: unit.layer):
                with gated(self._loaded.layers, masks):
                    hidden, at = run_layers(self._loaded, hidden, at, unit.layer), unit.layer
                other = masks.copy()
                other[at] = masks[at].clone()
                other[at][list(unit.heads)] = 1 - other[at][list(unit.heads)]
                with gated(self._loaded.layers, other):
                    found[unit] = loss_behind(self._loaded, run_layers(self._loaded, hidden, at), self._windows)
                advance(1)
        return [found[unit] for unit in units]

    def _masks(self, kept: Kept) -> list[Tensor]:
        return [mask_of(layer, kept[layer.index]).to(self._loaded.device) for layer in self._loaded.layers]


def _taken(gate: Tensor) -> Tensor:
    return gate.grad if gate.grad is not None else torch.zeros_like(gate)
