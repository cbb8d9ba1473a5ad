"""Any criterion by its name: which pass gives it, and what that pass needs."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from epi_surgery.errors import SurgeryError
from epi_surgery.model.load import Loaded
from epi_surgery.norms import Scores
from epi_surgery.progress import Bar
from epi_surgery.rank import names
from epi_surgery.rank.ablation import ablation_scores
from epi_surgery.rank.activation import activation_scores
from epi_surgery.rank.attnlrp import lrp_scores
from epi_surgery.rank.entropy import entropy_scores
from epi_surgery.rank.gradient import gradient_scores
from epi_surgery.rank.journal import Journal
from epi_surgery.rank.l0 import Training, gate_scores
from epi_surgery.rank.movement import movement_scores

# One walk over the windows that gives every criterion of a family.
Family = Callable[[Loaded, Tensor, Callable[[int], None]], dict[str, Scores]]


@dataclass(frozen=True)
class Needs:
    """What some criteria take beside model and text."""

    training: Training = field(default_factory=Training)
    journal: Journal = field(default_factory=lambda: Journal(None, ""))


def score_on_text(loaded: Loaded, criterion: str, windows: Tensor, needs: Needs, bar: Bar) -> Scores:
    """One score per layer and query head; raises SurgeryError for a criterion that nothing here computes."""
    label = f"ranking by {criterion}"
    if criterion in names.GATES:
        with bar(label, needs.training.steps) as advance:
            return gate_scores(loaded, windows, criterion == "l0-groups", needs.training, advance)
    if criterion == "ablation":
        with bar(label, sum(loaded.n_head)) as advance:
            return ablation_scores(loaded, windows, advance, needs.journal)
    with bar(label, windows.numel()) as advance:
        return family_of(criterion)(loaded, windows, advance)[criterion]


def family_of(criterion: str) -> Family:
    """The pass that gives this criterion, and others with it."""
    if criterion in names.GRADIENT:
        return gradient_scores
    if criterion in names.RELEVANCE:
        return lrp_scores
    found = {"wanda": activation_scores, "flap": activation_scores, "entropy": entropy_scores, "movement": movement_scores}
    if criterion not in found:
        raise SurgeryError(f"criterion '{criterion}' is not one of {', '.join(names.ALL)}")
    return found[criterion]
