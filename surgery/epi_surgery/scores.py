"""Scores of query heads by the criteria that need nothing but the weights; a low score is removed first."""

import random
from collections.abc import Callable, Sequence

from epi_surgery.architecture import Architecture
from epi_surgery.errors import SurgeryError
from epi_surgery.norms import Scores, norm_scores
from epi_surgery.recipe import Bytes

CRITERIA = ("l2", "l1", "random")


def score_heads(
    model: Bytes, arch: Architecture, criterion: str, per_layer: bool, seed: int, advance: Callable[[int], None]
) -> tuple[str, Scores]:
    """The criterion's full name, as a plan records it, and one score per layer and query head.

    `random` is the control that any criterion has to beat; `per_layer` concerns the norms only.
    """
    if criterion == "random":
        return f"random, seed {seed}", random_scores(arch.n_head, seed)
    if criterion not in CRITERIA:
        raise SurgeryError(f"criterion '{criterion}' is not one of {', '.join(CRITERIA)}")
    scores = norm_scores(model, arch, int(criterion[1]), per_layer, advance)
    return f"{criterion} of q, k, v, o, {'relative to the layer' if per_layer else 'as they are'}", scores


def random_scores(n_head: Sequence[int], seed: int) -> Scores:
    """Uniform in [0, 1), the same for the same seed."""
    source = random.Random(seed)
    return tuple(tuple(source.random() for _ in range(n)) for n in n_head)
