"""Choose which heads to remove: scores and an aim in, kept heads per layer out. Pure; no file, no engine.

Over all layers together the choice is exact: of all combinations of options that remove the wanted number of heads, dynamic
programming over the layers finds the one that costs least. Costs may be negative.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epi_surgery.aim import Aim, check_aim, targeted
from epi_surgery.errors import BadPlan
from epi_surgery.gqa import LayerHeads
from epi_surgery.options import Option, options, untouched
from epi_surgery.rules import Rules, check_rules

_LLAMA = Rules()
Menu = list[Option]


def choose(
    scores: Sequence[Sequence[float]], n_head: Sequence[int], n_kv: Sequence[int], aim: Aim, rules: Rules = _LLAMA
) -> tuple[LayerHeads, ...]:
    """The heads that stay in each layer; raises BadPlan where the aim removes nothing, or more than there is."""
    check_aim(aim, len(n_head))
    check_rules(aim, rules)
    if aim.spread == "uniform" and len(set(zip(n_head, n_kv, strict=True))) > 1:
        raise BadPlan("the layers of this model already differ; plan without --uniform")
    layers = targeted(aim.target, len(n_head))
    shapes = list(zip(n_head, n_kv, strict=True))
    open_layers = {layer for layer in layers if layer not in aim.protected}
    menus = [
        options(scores[layer], *shape, aim.layout, aim.attention_free, rules) if layer in open_layers else []
        for layer, shape in enumerate(shapes)
    ]
    goal = aim.fraction * sum(n_head[layer] for layer in layers)
    _check_reach(menus, goal, sum(n_head[layer] for layer in layers), aim)
    keeping = [untouched(*shape) for shape in shapes]
    pick = {"global": _cheapest, "layer": _evenly, "uniform": _alike}[aim.spread]
    chosen = pick(menus, keeping, goal)
    if all(option.n_removed == 0 for option in chosen):
        raise BadPlan(f"a fraction of {aim.fraction:g} removes nothing with layout '{aim.layout}' spread '{aim.spread}'")
    return tuple(option.heads for option in chosen)


def _cheapest(menus: Sequence[Menu], keeping: Sequence[Option], goal: float) -> list[Option]:
    """The least cost over all layers for the reachable number of heads nearest to the goal."""
    size = sum(max((option.n_removed for option in menu), default=0) for menu in menus) + 1
    least = np.full(size, np.inf)
    least[0] = 0.0
    taken: list[npt.NDArray[np.int64]] = []
    best = [_best_per_count(menu, stay) for menu, stay in zip(menus, keeping, strict=True)]
    for menu in best:
        rows = np.full((len(menu), size), np.inf)
        for row, option in enumerate(menu):
            rows[row, option.n_removed :] = least[: size - option.n_removed] + option.cost
        taken.append(rows.argmin(axis=0))
        least = rows.min(axis=0)
    total = _nearest(np.flatnonzero(np.isfinite(least)).tolist(), goal)
    chosen: list[Option] = []
    for menu, choice in zip(reversed(best), reversed(taken), strict=True):
        chosen.append(menu[choice[total]])
        total -= chosen[-1].n_removed
    return chosen[::-1]


def _evenly(menus: Sequence[Menu], keeping: Sequence[Option], goal: float) -> list[Option]:
    """The same share of every layer; what an option misses is made up for in the next layer."""
    n_open = sum(len(stay.heads.query) for stay, menu in zip(keeping, menus, strict=True) if menu)
    chosen, owed = [], 0.0
    for menu, stay in zip(menus, keeping, strict=True):
        owed += goal * len(stay.heads.query) / n_open if menu else 0.0
        best = _best_per_count(menu, stay)
        wanted = _nearest([option.n_removed for option in best], owed)
        chosen.append(next(option for option in best if option.n_removed == wanted))
        owed -= wanted
    return chosen


def _alike(menus: Sequence[Menu], keeping: Sequence[Option], goal: float) -> list[Option]:
    """The same shape in every layer: of those nearest to the goal the one that costs least."""
    shapes = sorted(set.intersection(*({option.shape for option in menu} for menu in menus)), reverse=True)
    n_head = len(keeping[0].heads.query)
    wanted = _nearest([n_head - n_query for n_query, _ in shapes], goal / len(menus))
    tables = [{option.shape: option for option in menu} for menu in menus]
    alike = [[table[shape] for table in tables] for shape in shapes if n_head - shape[0] == wanted]
    return min(alike, key=lambda chosen: sum(option.cost for option in chosen))


def _best_per_count(menu: Menu, stay: Option) -> Menu:
    """One option for each number of removed heads: the cheapest, of equals the one with fewer KV heads."""
    best = {0: stay}
    for option in menu:
        best.setdefault(option.n_removed, option)
    return list(best.values())


def _nearest(counts: Sequence[int], goal: float) -> int:
    return min(counts, key=lambda count: (abs(count - goal), count))


def _check_reach(menus: Sequence[Menu], goal: float, n_target: int, aim: Aim) -> None:
    if aim.spread == "uniform":
        common = set.intersection(*({option.n_removed for option in menu} for menu in menus)) if menus else set()
        smallest, most = min(common, default=0) * len(menus), max(common, default=0) * len(menus)
    else:
        smallest = min((option.n_removed for menu in menus for option in menu), default=0)
        most = sum(max((option.n_removed for option in menu), default=0) for menu in menus)
    if most == 0:
        raise BadPlan(
            f"layout '{aim.layout}' can remove nothing here: every layer is protected, has groups of one member only, or has "
            "no smaller shape that the engine runs; try the other layouts"
        )
    share = goal / n_target
    if goal <= smallest / 2:
        raise BadPlan(f"a fraction of {share:g} removes nothing in this layout; the smallest step is {smallest / n_target:.4g}")
    if goal - most > smallest / 2:
        raise BadPlan(f"a fraction of {share:g} is more than this layout can remove; at most {most / n_target:.4g}")
