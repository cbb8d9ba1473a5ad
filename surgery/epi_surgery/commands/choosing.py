"""Options that `plan` and `matrix` share: by what heads are ranked, in which shape they go, and for which engine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from epi_surgery.aim import LAYOUTS, SPREADS
from epi_surgery.errors import SurgeryError
from epi_surgery.hashing import default_cache
from epi_surgery.make_plan import Ranked, Ranking, rank, ranked_by
from epi_surgery.open_model import Model
from epi_surgery.progress import bar
from epi_surgery.rules import ENGINES, Rules
from epi_surgery.scores import CRITERIA

Command = Callable[..., Any]


def choosing_options(layout: str, spread: str) -> Callable[[Command], Command]:
    """All shared options, with this command's own defaults."""

    def shared(name: str, *words: str, text: str, **settings: Any) -> Any:
        return click.option(name, *words, help=text, show_default=settings.get("default", "") != "", **settings)

    def flag(name: str, text: str) -> Any:
        return click.option(name, is_flag=True, help=text)

    options = [
        shared("--scores", type=click.Path(path_type=Path), text="Scores written by epi-surgery rank; a low score leaves first."),
        shared("--criterion", type=click.Choice(CRITERIA), default="l2", text="What ranks the heads where no scores are given."),
        flag("--relative", "Compare each norm with the mean of its layer first."),
        shared("--seed", type=int, default=0, text="For the criterion 'random'."),
        shared(
            "--layout",
            type=click.Choice(LAYOUTS),
            default=layout,
            text="Equally many from every KV group, whole KV groups, any heads, or the best of what the engine runs.",
        ),
        shared(
            "--spread",
            type=click.Choice(SPREADS),
            default=spread,
            text="The weakest anywhere, the same share of every layer, or exactly the same counts in every layer.",
        ),
        shared("--protect-layers", "protected", default="", metavar="0,1", text="Layers that lose nothing, separated by commas."),
        flag("--attention-free", "Allow layers to lose all of their attention."),
        shared("--engine", type=click.Choice(ENGINES), default="llama.cpp", text="Where the cut model is to run."),
        shared("--nodes", type=click.IntRange(1), default=1, text="Machines that distributed-llama shares the heads among."),
        flag("--k-quants", "Keep to shapes that Q4_K and its kin can store; for layout auto."),
        shared("--context", type=click.IntRange(0), default=512, text="Tokens in the cache, for the ceilings."),
    ]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def ranked_heads(model: Model, choices: Mapping[str, Any]) -> Ranked:
    """The model with scores from the file that was named, or by the criterion that was."""
    if choices["scores"] is not None:
        return ranked_by(model, choices["scores"], default_cache(), bar)
    ranking = Ranking(choices["criterion"], per_layer=choices["relative"], seed=choices["seed"])
    return rank(model, ranking, default_cache(), bar)


def deployment(choices: Mapping[str, Any]) -> Rules:
    """The engine that was named and how it is to be used."""
    return Rules(engine=choices["engine"], nodes=choices["nodes"], k_quants=choices["k_quants"])


def layer_list(text: str) -> tuple[int, ...]:
    """The layers named in `0,1`."""
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise SurgeryError(f"--protect-layers takes layer numbers separated by commas, not '{text}'") from None
