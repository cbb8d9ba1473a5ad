"""Carry a plan out: write the cut model under a temporary name, prove it, and only then give it its final one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epi_surgery.architecture import Architecture, architecture_of
from epi_surgery.cut import cut_entries, cut_recipes, masked_recipes
from epi_surgery.errors import BadPlan
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gguf_write import written_bytes
from epi_surgery.make_plan import counts_of
from epi_surgery.metadata import Entry, string
from epi_surgery.output import check_space, final_name, scratch
from epi_surgery.plan import Plan, check_same_model, model_id
from epi_surgery.plan_file import plan_json
from epi_surgery.progress import Bar
from epi_surgery.prove import Proof, prove
from epi_surgery.write_model import write_hashed, write_plain


@dataclass(frozen=True)
class Requantised:
    """A tensor whose blocks straddled the cut and that was therefore stored in another type."""

    name: str
    was: str
    now: str


@dataclass(frozen=True)
class CutResult:
    """The written file. `sha256` is None where it was not asked for, `proof` where it was skipped."""

    path: Path
    sha256: str | None
    n_bytes: int
    architecture: str
    requantised: tuple[Requantised, ...]
    proof: Proof | None


def execute(
    model: GgufFile, plan: Plan, out: Path, with_proof: bool, cache: Path | None, bar: Bar, with_hash: bool = False
) -> CutResult:
    """Cut `model` by `plan` into `out`; raises SurgeryError with nothing left behind where any check fails.

    Hashing takes as long as writing: the file already names its parent's hash and its plan's.
    """
    arch = architecture_of(model)
    with bar("checking the model", model.n_bytes) as advance:
        check_same_model(plan, model_id(model, cache, advance))
    if not plan.rules.pads:
        raise BadPlan("the plan is for PyTorch; cut it into a folder (--out without .gguf), or plan for llama.cpp")
    recipes, entries = cut_recipes(model, arch, plan.layers), cut_entries(model, arch, plan.layers)
    if not counts_fit(model, arch, plan):
        raise BadPlan("the plan's numbers do not fit the model: it was edited by hand; make it again with epi-surgery plan")
    entries = _with_provenance(entries, plan)
    n_bytes = written_bytes(entries, recipes, model.alignment)
    check_space(out.parent, n_bytes + (model.n_bytes if with_proof else 0))
    with final_name(out) as part:
        write = write_hashed if with_hash else write_plain
        sha256 = write(part, entries, recipes, model.alignment, bar)
        proof = _prove(model, plan, part, out, bar) if with_proof else None
    name = next(entry for entry in entries if entry.key == "general.architecture").raw[8:].decode()
    changed = [Requantised(r.name, r.requantised_from.name, r.type.name) for r in recipes if r.requantised_from is not None]
    return CutResult(out, sha256, n_bytes, name, tuple(changed), proof)


def counts_fit(model: GgufFile, arch: Architecture, plan: Plan) -> bool:
    """Whether the plan's shares are those of its head lists on this model."""
    if arch != plan.architecture:
        return False
    return counts_of(model, arch, plan.layers, plan.rules, plan.per_token.context) == (plan.shares, plan.per_token)


def _prove(model: GgufFile, plan: Plan, cut: Path, out: Path, bar: Bar) -> Proof:
    recipes = masked_recipes(model, plan.architecture, plan.layers)
    with scratch(out, "twin") as twin:
        write_plain(twin, list(model.entries.values()), recipes, model.alignment, bar)
        with bar("proving", 1) as advance:
            proof = prove(twin, cut, model.path)
            advance(1)
        return proof


def _with_provenance(entries: Sequence[Entry], plan: Plan) -> list[Entry]:
    text = plan_json(plan)
    added = {
        "epi.plan": text,
        "epi.plan_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "epi.parent_sha256": plan.model.sha256,
    }
    kept = [entry for entry in entries if entry.key not in added]
    return kept + [string(key, value) for key, value in added.items()]
