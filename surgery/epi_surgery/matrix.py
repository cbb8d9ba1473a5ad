"""The 25 configurations of the head-surgery experiment: eight depths, three targets, and the model as it is.

Depths are the paper's (5, 10, 15, 20, 25, 30, 40, 50 % of the heads of each targeted layer); what a layout can really
remove comes in steps, so every configuration states its true share beside the nominal one, and one that a layout cannot
express is listed with the reason and no plan.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from epi_surgery.choose import TARGETS, Aim
from epi_surgery.errors import BadPlan
from epi_surgery.make_plan import Ranked, make_plan
from epi_surgery.plan import Plan

DEPTHS_PERCENT = (5, 10, 15, 20, 25, 30, 40, 50)


@dataclass(frozen=True)
class Configuration:
    """One cell: a plan, or why there is none. The baseline has depth 0 and neither."""

    name: str
    percent: int
    target: str
    plan: Plan | None = None
    refusal: str | None = None
    same_as: str | None = None


def configurations(ranked: Ranked, layout: str, protected: tuple[int, ...], context: int) -> Iterator[Configuration]:
    """The baseline and the 24 cuts; `same_as` names an earlier one that keeps the very same heads."""
    yield Configuration("baseline", 0, "all")
    seen: dict[object, str] = {}
    for target in TARGETS:
        for percent in DEPTHS_PERCENT:
            name = f"{target}-{percent:02d}"
            try:
                plan = make_plan(ranked, Aim(percent / 100, layout, False, target, protected), context)
            except BadPlan as error:
                yield Configuration(name, percent, target, refusal=str(error))
                continue
            yield Configuration(name, percent, target, plan, same_as=seen.get(plan.layers))
            seen.setdefault(plan.layers, name)
