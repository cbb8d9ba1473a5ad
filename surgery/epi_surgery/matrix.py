"""The 25 configurations of the head-surgery experiment: eight depths, three targets, and the model as it is.

Depths are the paper's: 5 to 50 % of the heads of each targeted layer, as whole heads of a layer of 32 (5 % of 32 are 1.6,
"1 or 2", which whole layers reach in turns). What a layout can really remove comes in steps, so every configuration states
its true share beside the nominal one, and one that a layout cannot express is listed with the reason and no plan.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from epi_surgery.aim import TARGETS, Aim
from epi_surgery.errors import BadPlan
from epi_surgery.make_plan import Ranked, make_plan
from epi_surgery.plan import Plan
from epi_surgery.rules import Rules

# Nominal percent -> heads of a 32-head layer.
DEPTHS = {5: 1.6, 10: 3, 15: 5, 20: 6, 25: 8, 30: 10, 40: 13, 50: 16}
_LAYER_HEADS = 32
_LLAMA = Rules()


@dataclass(frozen=True)
class Configuration:
    """One cell: a plan, or why there is none. The baseline has depth 0 and neither."""

    name: str
    percent: int
    target: str
    plan: Plan | None = None
    refusal: str | None = None
    same_as: str | None = None


def configurations(ranked: Ranked, aim: Aim, context: int, deployment: Rules = _LLAMA) -> Iterator[Configuration]:
    """The baseline and the 24 cuts, `aim` giving all but depth and target.

    `same_as` names an earlier configuration that keeps the very same heads.
    """
    yield Configuration("baseline", 0, "all")
    seen: dict[object, str] = {}
    for target in TARGETS:
        for percent, heads in DEPTHS.items():
            name = f"{target}-{percent:02d}"
            try:
                wanted = replace(aim, fraction=heads / _LAYER_HEADS, target=target)
                plan = make_plan(ranked, wanted, context, deployment)
            except BadPlan as error:
                yield Configuration(name, percent, target, refusal=str(error))
                continue
            yield Configuration(name, percent, target, plan, same_as=seen.get(plan.layers))
            seen.setdefault(plan.layers, name)
