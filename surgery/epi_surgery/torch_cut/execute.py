"""Cut a model into a checkpoint for PyTorch: written under a temporary name, proved, and only then given its final one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from epi_surgery.errors import BadPlan
from epi_surgery.gguf_file import GgufFile
from epi_surgery.make_plan import counts_of
from epi_surgery.model.load import DTYPES
from epi_surgery.open_model import Model, identify_model, numbers_of
from epi_surgery.output import check_space, final_folder
from epi_surgery.plan import Plan, check_same_model
from epi_surgery.progress import Bar
from epi_surgery.prove import Proof
from epi_surgery.torch_cut.checkpoint import copy_tokenizer, save
from epi_surgery.torch_cut.donor import donor_tensors
from epi_surgery.torch_cut.prove import prove
from epi_surgery.weight_folder import WeightFolder


@dataclass(frozen=True)
class TorchCut:
    """The written folder; `proof` is None where it was skipped."""

    path: Path
    n_bytes: int
    proof: Proof | None


def execute(model: Model, plan: Plan, out: Path, dtype: str, with_proof: bool, cache: Path | None, bar: Bar) -> TorchCut:
    """Cut `model` by `plan` into the folder `out`; raises SurgeryError with nothing left behind where any check fails."""
    if plan.rules.pads:
        raise BadPlan(f"the plan is for {plan.engine}, which needs a GGUF; plan with --engine torch for a folder")
    arch = numbers_of(model)
    check_same_model(plan, identify_model(model, cache, bar))
    if arch != plan.architecture or counts_of(model, arch, plan.layers, plan.rules, plan.per_token.context) != (
        plan.shares,
        plan.per_token,
    ):
        raise BadPlan("the plan's numbers do not fit the model: it was edited by hand; make it again with epi-surgery plan")
    check_space(out.parent, plan.shares.parameters.after * (4 if isinstance(model, GgufFile) and dtype == "float32" else 2))
    with final_folder(out) as part:
        with bar("writing the model", len(model.tensors)) as advance:
            counted = _counted(donor_tensors(model, arch.head_dim_k, DTYPES[dtype]), advance)
            save(part, _donor_config(model), plan, counted)
        _tokenizer(model, part)
        proof = prove(model.path, plan, part, bar) if with_proof else None
        n_bytes = sum(file.stat().st_size for file in part.iterdir())
    return TorchCut(out, n_bytes, proof)


def _counted(tensors: Iterator[tuple[str, torch.Tensor]], advance: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for item in tensors:
        yield item
        advance(1)


def _donor_config(model: Model) -> dict[str, Any]:
    if isinstance(model, WeightFolder):
        return model.config
    from epi_surgery.model.gguf_config import config_of

    found: dict[str, Any] = config_of(model).to_dict()
    return found


def _tokenizer(model: Model, folder: Path) -> None:
    if isinstance(model, WeightFolder):
        copy_tokenizer(model.path, folder)
        return
    from epi_surgery.model.source import find_source
    from epi_surgery.model.tokens import tokenizer_of

    tokenizer_of(find_source(model.path)).save_pretrained(folder)
