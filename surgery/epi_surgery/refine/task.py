"""A refinement from beginning to end: model, plan and text in, a plan of the same size and shape out that costs less."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from epi_surgery.aim import Aim
from epi_surgery.choose import choose
from epi_surgery.errors import SurgeryError
from epi_surgery.gqa import all_heads
from epi_surgery.make_plan import counts_of
from epi_surgery.model.load import DTYPES, Loaded, check_all_attend, load
from epi_surgery.model.offload import Offload
from epi_surgery.norms import Scores
from epi_surgery.open_model import identify_model, open_model
from epi_surgery.plan import Plan, check_same_model
from epi_surgery.progress import Bar
from epi_surgery.rank.calibration import Wanted, calibrate, divided
from epi_surgery.refine.company import Company
from epi_surgery.refine.exchange import Effort, Kept, Refined, Search, units_of
from epi_surgery.rules import Rules


@dataclass(frozen=True)
class Task:
    """What to refine on, how long, and how to compute."""

    calibration: Wanted
    effort: Effort = field(default_factory=Effort)
    dtype: str = "float32"
    offload: Offload | None = None


@dataclass(frozen=True)
class Outcome:
    """The new plan, the search on the tokens that decided, and losses on the others: uncut, as planned, refined."""

    plan: Plan
    search: Refined
    tokens: int
    judged_on: int
    uncut: float
    planned: float
    refined: float


def refine_plan(path: Path, plan: Plan, task: Task, cache: Path | None, bar: Bar) -> Outcome:
    """Refine `plan` of the model at `path`; raises SurgeryError where no exchange of heads lowers the loss."""
    with open_model(path) as model:
        check_same_model(plan, identify_model(model, cache, bar))
        loaded = load(path, DTYPES[task.dtype], task.offload, bar)
        check_all_attend(loaded)
        windows, _ = calibrate(loaded, task.calibration)
        deciding, judging, _ = divided(windows, "decide by")
        found = refine(loaded, plan.layers, plan.aim, plan.rules, deciding, task.effort, bar)
        if not found.rounds:
            raise SurgeryError(
                f"no exchange of heads lowers the loss on {deciding.numel():,} tokens; nothing was written, the plan is as good "
                "as this text can tell"
            )
        shares, per_token = counts_of(model, plan.architecture, found.kept, plan.rules, plan.per_token.context)
        criterion = f"{plan.criterion}, refined by the loss on {deciding.numel():,} tokens (seed {task.calibration.seed})"
        better = replace(plan, criterion=criterion, layers=found.kept, shares=shares, per_token=per_token)
    judge = Company(loaded, judging, bar)
    uncut = tuple(all_heads(*counts) for counts in zip(loaded.n_head, loaded.n_kv, strict=True))
    losses = [judge.loss(kept) for kept in (uncut, plan.layers, found.kept)]
    return Outcome(better, found, deciding.numel(), judging.numel(), *losses)


def refine(loaded: Loaded, kept: Kept, aim: Aim, rules: Rules, windows: Tensor, effort: Effort, bar: Bar) -> Refined:
    """Exchange heads of a cut by the model's loss on the windows, within the layout and the number of heads aimed at."""
    units = units_of(aim, loaded.n_head, loaded.n_kv)

    def choice(scores: Scores) -> Kept:
        return choose(scores, loaded.n_head, loaded.n_kv, aim, rules)

    return Search(Company(loaded, windows, bar), loaded.n_head, units, choice, effort).run(kept)
