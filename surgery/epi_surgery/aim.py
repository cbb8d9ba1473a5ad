"""What a plan aims at: how much to remove, in which shape, from which layers."""

from dataclasses import dataclass

from epi_surgery.errors import BadPlan

LAYOUTS = ("balanced", "groups", "ragged", "auto")
SPREADS = ("global", "layer", "uniform")
TARGETS = ("all", "early", "late")


@dataclass(frozen=True)
class Aim:
    """Remove `fraction` of the query heads of the targeted layers, none from protected ones.

    `spread`: the weakest anywhere (`global`), the same share of every layer with fractions of a step carried over to the
    next layer (`layer`), or exactly the same counts in every layer (`uniform`). `early` is the first quarter of the layers,
    `late` the last. With `attention_free` a layer may lose its last head.
    """

    fraction: float
    layout: str
    spread: str = "global"
    target: str = "all"
    protected: tuple[int, ...] = ()
    attention_free: bool = False


def targeted(target: str, n_layer: int) -> range:
    """The layers of a target; a quarter of fewer than four layers is one."""
    quarter = max(1, n_layer // 4)
    return {"all": range(n_layer), "early": range(quarter), "late": range(n_layer - quarter, n_layer)}[target]


def check_aim(aim: Aim, n_layer: int) -> None:
    """Raise BadPlan for an aim that contradicts itself or the model."""
    if not 0 < aim.fraction < 1:
        amount = "nothing" if aim.fraction <= 0 else "everything"
        raise BadPlan(f"a fraction of {aim.fraction:g} removes {amount}; it must be between 0 and 1")
    foreign = [layer for layer in aim.protected if not 0 <= layer < n_layer]
    if foreign:
        raise BadPlan(f"layer {foreign[0]} cannot be protected: the model's layers are 0 to {n_layer - 1}")
    if aim.spread == "uniform" and (aim.protected or aim.target != "all"):
        raise BadPlan("--uniform cuts every layer alike, so it cannot go with protected layers or a target other than 'all'")
    if aim.spread == "uniform" and aim.layout == "ragged":
        raise BadPlan("--uniform needs groups of equal size, which a ragged layout does not keep; choose another layout")
    if aim.spread == "uniform" and aim.attention_free:
        raise BadPlan("--uniform with --attention-free would leave a model without attention; drop one of them")
