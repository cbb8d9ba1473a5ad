"""From a model and an aim to a plan: score, choose, count."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from epi_surgery.aim import Aim
from epi_surgery.architecture import Architecture
from epi_surgery.choose import choose
from epi_surgery.cost import PerToken, per_token
from epi_surgery.cut import cut_recipes, stored_layers
from epi_surgery.errors import BadPlan
from epi_surgery.gqa import LayerHeads
from epi_surgery.norms import Scores
from epi_surgery.open_model import Model, identify_model, numbers_of
from epi_surgery.plan import ModelId, Plan
from epi_surgery.progress import Bar
from epi_surgery.rules import K_QUANT_BLOCK, Rules
from epi_surgery.score_file import check_scores_fit, read_scores
from epi_surgery.scores import score_heads
from epi_surgery.shares import Shares, shares_of
from epi_surgery.tensor import block_size
from epi_surgery.weight_folder import WeightFolder

_LLAMA = Rules()


@dataclass(frozen=True)
class Ranking:
    """By what to rank heads: see `score_heads`."""

    criterion: str = "l2"
    per_layer: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Ranked:
    """A model with its identity and scores: all that any number of plans for it need."""

    model: Model
    identity: ModelId
    arch: Architecture
    criterion: str
    scores: Scores


def rank(model: Model, ranking: Ranking, cache: Path | None, bar: Bar) -> Ranked:
    """Score the heads and hash the model."""
    arch = numbers_of(model)
    with bar("scoring heads", arch.n_layer) as advance:
        name, scores = score_heads(model, arch, ranking.criterion, ranking.per_layer, ranking.seed, advance)
    return Ranked(model, identify_model(model, cache, bar), arch, name, scores)


def ranked_by(model: Model, path: Path, cache: Path | None, bar: Bar) -> Ranked:
    """Take the scores from a file that `epi-surgery rank` wrote; raises SurgeryError where it is of another model."""
    arch, found = numbers_of(model), read_scores(path)
    identity = identify_model(model, cache, bar)
    check_scores_fit(found, identity, arch.n_head)
    return Ranked(model, identity, arch, found.criterion, found.scores)


def make_plan(ranked: Ranked, aim: Aim, context: int, deployment: Rules = _LLAMA) -> Plan:
    """Choose which heads stay and count what goes; raises SurgeryError where the aim cannot be met.

    K-quants stay legal where `deployment` asks for it and where the model is stored in them already.
    """
    model, arch = ranked.model, ranked.arch
    if isinstance(model, WeightFolder) and deployment.pads:
        raise BadPlan(f"{model.path}: a folder is cut for PyTorch: add --engine torch; for {deployment.engine} give a GGUF")
    rules = replace(deployment, head_dim=arch.head_dim_k, k_quants=deployment.k_quants or stored_as_k_quants(model))
    layers = choose(ranked.scores, arch.n_head, arch.n_kv, aim, rules)
    shares, costs = counts_of(model, arch, layers, rules, context)
    return Plan(ranked.identity, arch, ranked.criterion, aim, layers, shares, costs, rules.engine, rules.nodes, rules.k_quants)


def counts_of(
    model: Model, arch: Architecture, layers: Sequence[LayerHeads], rules: Rules, context: int
) -> tuple[Shares, PerToken]:
    """What the cut removes on that engine, from the tensors it leaves."""
    before, after = list(model.tensors.values()), cut_recipes(model, arch, layers, rules.pads)
    stored = stored_layers(arch, layers, rules.pads)
    return shares_of(arch, layers, before, after), per_token(arch, stored, before, after, context, rules.cache_bytes)


def stored_as_k_quants(model: Model) -> bool:
    """Whether some output projection is stored in super-blocks, which ask for row lengths they divide."""
    outputs = [tensor for tensor in model.tensors.values() if tensor.name.endswith("attn_output.weight")]
    return any(block_size(tensor.type) == K_QUANT_BLOCK for tensor in outputs)
