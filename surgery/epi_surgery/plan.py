"""A plan: which heads of which model stay. The file that names a cut, and that everything downstream refers to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epi_surgery.aim import Aim
from epi_surgery.architecture import Architecture
from epi_surgery.cost import PerToken
from epi_surgery.errors import BadPlan
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gqa import LayerHeads
from epi_surgery.hashing import file_sha256
from epi_surgery.rules import Rules
from epi_surgery.shares import Shares


@dataclass(frozen=True)
class ModelId:
    """The model a plan is for: its name and the sha256 and size of its file."""

    name: str
    sha256: str
    n_bytes: int


@dataclass(frozen=True)
class Plan:
    """Kept heads per layer, what they were chosen by, and the exact shares that go."""

    model: ModelId
    architecture: Architecture
    criterion: str
    aim: Aim
    layers: tuple[LayerHeads, ...]
    shares: Shares
    per_token: PerToken
    engine: str = "llama.cpp"
    nodes: int = 1
    k_quants: bool = False

    @property
    def rules(self) -> Rules:
        """What the engine of this plan asks of a layer."""
        return Rules(self.engine, self.architecture.head_dim_k, self.nodes, self.k_quants)


def model_id(model: GgufFile, cache: Path | None, advance: Callable[[int], None]) -> ModelId:
    """Name and hash the model file; `advance` is called with the bytes of each step."""
    name = model.text("general.name") or model.path.stem
    return ModelId(name, file_sha256(model.path, cache, advance), model.n_bytes)


def check_same_model(plan: Plan, found: ModelId) -> None:
    """Raise BadPlan where the plan was made for another file."""
    if plan.model.sha256 != found.sha256:
        raise BadPlan(
            f"the plan was made for another model: '{plan.model.name}' with sha256 {plan.model.sha256[:12]}…, "
            f"not '{found.name}' with {found.sha256[:12]}…; make a plan for this file with epi-surgery plan"
        )
