"""From a model and an aim to a plan: score, choose, count."""

from dataclasses import dataclass
from pathlib import Path

from epi_surgery.architecture import Architecture, architecture_of
from epi_surgery.choose import Aim, choose
from epi_surgery.cost import per_token
from epi_surgery.cut import cut_recipes
from epi_surgery.gguf_file import GgufFile
from epi_surgery.norms import Scores
from epi_surgery.plan import ModelId, Plan, model_id
from epi_surgery.progress import Bar
from epi_surgery.scores import score_heads
from epi_surgery.shares import shares_of


@dataclass(frozen=True)
class Ranking:
    """By what to rank heads: see `score_heads`."""

    criterion: str = "l2"
    per_layer: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Ranked:
    """A model with its identity and scores: all that any number of plans for it need."""

    model: GgufFile
    identity: ModelId
    arch: Architecture
    criterion: str
    scores: Scores


def rank(model: GgufFile, ranking: Ranking, cache: Path | None, bar: Bar) -> Ranked:
    """Score the heads and hash the model."""
    arch = architecture_of(model)
    with bar("scoring heads", arch.n_layer) as advance:
        name, scores = score_heads(model, arch, ranking.criterion, ranking.per_layer, ranking.seed, advance)
    with bar("hashing the model", model.n_bytes) as advance:
        identity = model_id(model, cache, advance)
    return Ranked(model, identity, arch, name, scores)


def make_plan(ranked: Ranked, aim: Aim, context: int) -> Plan:
    """Choose which heads stay and count what goes; raises SurgeryError where the aim cannot be met."""
    arch, tensors = ranked.arch, ranked.model.tensors.values()
    layers = choose(ranked.scores, arch.n_head, arch.n_kv, aim)
    recipes = cut_recipes(ranked.model, arch, layers)
    shares = shares_of(arch, layers, tensors, recipes)
    costs = per_token(arch, layers, tensors, recipes, context)
    return Plan(ranked.identity, arch, ranked.criterion, aim, layers, shares, costs)
