"""Choose which heads to remove: scores and a fraction in, kept heads per layer out. Pure; no file, no engine.

A *step* is the least that a layout can remove from one layer: in `balanced` one query head from every KV group at once
(the weakest of each), in `groups` one whole KV group. Steps are taken cheapest first; those of one layer come in
ascending cost by construction, so a global sort never takes the third before the second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from epi_surgery.errors import BadPlan
from epi_surgery.gqa import LayerHeads, all_heads, group_size, heads_of, keep

LAYOUTS = ("balanced", "groups")
TARGETS = ("all", "early", "late")


@dataclass(frozen=True)
class Step:
    """Query heads that leave together, and what their scores sum to."""

    cost: float
    layer: int
    heads: tuple[int, ...]


@dataclass(frozen=True)
class Aim:
    """What to remove: `fraction` of the query heads of the targeted layers, none from protected ones.

    `uniform` takes the same number from every layer. `early` is the first quarter of the layers, `late` the last.
    """

    fraction: float
    layout: str
    uniform: bool = False
    target: str = "all"
    protected: tuple[int, ...] = ()


def choose(scores: Sequence[Sequence[float]], n_head: Sequence[int], n_kv: Sequence[int], aim: Aim) -> tuple[LayerHeads, ...]:
    """The heads that stay in each layer; raises BadPlan where the aim removes nothing, or more than there is."""
    _check(aim, len(n_head))
    if aim.uniform and len(set(zip(n_head, n_kv, strict=True))) > 1:
        raise BadPlan("the layers of this model already differ; plan without --uniform")
    layers = [layer for layer in targeted(aim.target, len(n_head)) if layer not in aim.protected and n_head[layer]]
    ladders = {layer: steps(scores[layer], layer, n_head[layer], n_kv[layer], aim.layout) for layer in layers}
    n_target = sum(n_head[layer] for layer in targeted(aim.target, len(n_head)))
    taken = _uniform_steps(ladders, aim) if aim.uniform else _cheapest_steps(ladders, aim, n_target)
    removed: dict[int, set[int]] = {}
    for step in taken:
        removed.setdefault(step.layer, set()).update(step.heads)
    return tuple(
        keep(set(range(n_head[layer])) - removed[layer], n_head[layer], n_kv[layer])
        if layer in removed
        else all_heads(n_head[layer], n_kv[layer])
        for layer in range(len(n_head))
    )


def steps(scores: Sequence[float], layer: int, n_head: int, n_kv: int, layout: str) -> list[Step]:
    """What can be removed from one layer, cheapest first, always leaving one step's worth in place."""
    group = group_size(n_head, n_kv)
    if layout == "groups":
        groups = sorted((sum(scores[head] for head in heads_of(kv, n_head, n_kv)), kv) for kv in range(n_kv))
        return [Step(cost, layer, tuple(heads_of(kv, n_head, n_kv))) for cost, kv in groups[:-1]]
    ranked = [sorted(heads_of(kv, n_head, n_kv), key=lambda head: (scores[head], head)) for kv in range(n_kv)]
    leaving = [tuple(order[rank] for order in ranked) for rank in range(group - 1)]
    return [Step(sum(scores[head] for head in heads), layer, heads) for heads in leaving]


def targeted(target: str, n_layer: int) -> range:
    """The layers of a target; a quarter of fewer than four layers is one."""
    quarter = max(1, n_layer // 4)
    return {"all": range(n_layer), "early": range(quarter), "late": range(n_layer - quarter, n_layer)}[target]


def _check(aim: Aim, n_layer: int) -> None:
    if not 0 < aim.fraction < 1:
        amount = "nothing" if aim.fraction <= 0 else "everything"
        raise BadPlan(f"a fraction of {aim.fraction:g} removes {amount}; it must be between 0 and 1")
    foreign = [layer for layer in aim.protected if not 0 <= layer < n_layer]
    if foreign:
        raise BadPlan(f"layer {foreign[0]} cannot be protected: the model's layers are 0 to {n_layer - 1}")
    if aim.uniform and (aim.protected or aim.target != "all"):
        raise BadPlan("--uniform cuts every layer alike, so it cannot go with protected layers or a target other than 'all'")


def _uniform_steps(ladders: dict[int, list[Step]], aim: Aim) -> list[Step]:
    per_layer = min(len(ladder) for ladder in ladders.values())
    n_steps = round(aim.fraction * (per_layer + 1))
    _check_reach(n_steps, per_layer, per_layer + 1, aim)
    return list(chain.from_iterable(ladder[:n_steps] for ladder in ladders.values()))


def _cheapest_steps(ladders: dict[int, list[Step]], aim: Aim, n_target: int) -> list[Step]:
    order = sorted(chain.from_iterable(ladders.values()), key=lambda step: (step.cost, step.layer, step.heads))
    goal, taken, n_heads = aim.fraction * n_target, [], 0
    for step in order:
        # Stop where one step more would land farther from the goal than staying.
        if n_heads + len(step.heads) / 2 > goal:
            break
        taken.append(step)
        n_heads += len(step.heads)
    reachable = sum(len(step.heads) for step in order)
    _check_share(n_heads, reachable, goal, n_target, min((len(step.heads) for step in order), default=0))
    return taken


def _check_reach(n_steps: int, most: int, n_units: int, aim: Aim) -> None:
    if most == 0:
        raise BadPlan(f"layout '{aim.layout}' can remove nothing here: its groups have one member only; try the other layout")
    if n_steps == 0:
        raise BadPlan(f"a fraction of {aim.fraction:g} removes nothing in this layout; the smallest step is {1 / n_units:.4g}")
    if n_steps > most:
        raise BadPlan(f"a fraction of {aim.fraction:g} is more than this layout can remove; at most {most / n_units:.4g}")


def _check_share(n_heads: int, reachable: int, goal: float, n_target: int, smallest: int) -> None:
    if reachable == 0:
        raise BadPlan("nothing can be removed: every layer is protected or has groups of one member only; try the other layout")
    if n_heads == 0:
        raise BadPlan(f"a fraction of {goal / n_target:g} removes nothing; the smallest step is {smallest / n_target:.4g}")
    if goal - reachable > smallest / 2:
        most = reachable / n_target
        raise BadPlan(f"a fraction of {goal / n_target:g} is more than this layout can remove; at most {most:.4g}")
