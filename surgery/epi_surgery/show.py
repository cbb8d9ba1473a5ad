"""What a GGUF holds, for people and for machines: numbers, quantisation per kind of tensor, the heads drawn."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from epi_surgery.architecture import Architecture
from epi_surgery.errors import BadPlan
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gqa import LayerHeads, all_heads, draw
from epi_surgery.plan import Plan
from epi_surgery.plan_file import parse_plan
from epi_surgery.table import Row, aligned, ranges

_LAYER = re.compile(r"^blk\.\d+\.")


def origin_plan(model: GgufFile) -> Plan | None:
    """The plan that a cut model carries; None for any other model."""
    text = model.text("epi.plan")
    try:
        return parse_plan(text) if text else None
    except BadPlan:
        return None  # written by a later version: the model itself can still be shown


def facts(model: GgufFile, arch: Architecture) -> dict[str, Any]:
    """The model as a JSON object."""
    return {
        "path": str(model.path),
        "name": model.text("general.name"),
        "n_bytes": model.n_bytes,
        "architecture": arch.name,
        "n_layer": arch.n_layer,
        "n_embd": arch.n_embd,
        "n_vocab": arch.n_vocab,
        "head_dim_k": arch.head_dim_k,
        "head_dim_v": arch.head_dim_v,
        "n_head": list(arch.n_head),
        "n_kv": list(arch.n_kv),
        "n_ff": list(arch.n_ff),
        "parameters": sum(tensor.n_elements for tensor in model.tensors.values()),
        "tensor_bytes": sum(tensor.n_bytes for tensor in model.tensors.values()),
        "quantisation": quantisation(model),
        "parent_sha256": model.text("epi.parent_sha256") or None,
        "plan_sha256": model.text("epi.plan_sha256") or None,
    }


def quantisation(model: GgufFile) -> dict[str, dict[str, int]]:
    """For each kind of tensor (its name without the layer) how many there are of each type."""
    kinds: dict[str, Counter[str]] = {}
    for tensor in model.tensors.values():
        kinds.setdefault(_LAYER.sub("", tensor.name), Counter())[tensor.type.name] += 1
    return {kind: dict(counts) for kind, counts in kinds.items()}


def text(model: GgufFile, arch: Architecture) -> str:
    """The model as text."""
    plan = origin_plan(model)
    heads = [all_heads(*pair) for pair in zip(arch.n_head, arch.n_kv, strict=True)]
    drawn = drawing(arch, heads) if plan is None else drawing(plan.architecture, plan.layers)
    types = [
        (kind, ", ".join(f"{name} x {count}" for name, count in counts.items())) for kind, counts in quantisation(model).items()
    ]
    return "\n\n".join([aligned(_numbers(model, arch, plan)), aligned(types), drawn])


def _numbers(model: GgufFile, arch: Architecture, plan: Plan | None) -> list[Row]:
    width = f"{arch.head_dim_k}" if arch.head_dim_k == arch.head_dim_v else f"{arch.head_dim_k} (value {arch.head_dim_v})"
    rows = [
        ("model", model.text("general.name", "(no name)")),
        ("architecture", f"{arch.name}, {arch.n_layer} layers, embedding {arch.n_embd}, vocabulary {arch.n_vocab}"),
        ("head dimension", width),
        ("feed-forward", ranges(sorted(set(arch.n_ff)))),
        ("parameters", f"{sum(tensor.n_elements for tensor in model.tensors.values()):,}"),
        ("size", f"{model.n_bytes:,} bytes"),
    ]
    if plan is not None:
        rows.append(("cut from", f"{plan.model.name} (sha256 {plan.model.sha256[:12]}…)"))
    return rows


def drawing(arch: Architecture, kept: Sequence[LayerHeads]) -> str:
    """The heads of all layers, those alike drawn once; dots are heads that were removed."""
    alike: dict[tuple[int, int, LayerHeads], list[int]] = {}
    for layer, heads in enumerate(kept):
        alike.setdefault((arch.n_head[layer], arch.n_kv[layer], heads), []).append(layer)
    blocks = []
    for (n_head, n_kv, heads), layers in alike.items():
        counts = f"{len(heads.query)} query heads on {len(heads.kv)} KV heads"
        blocks.append("\n".join([f"layers {ranges(layers)}: {counts}", *draw(heads, n_head, n_kv)]))
    return "\n\n".join(blocks)


def as_json(body: dict[str, Any]) -> str:
    """One JSON object, for machines."""
    return json.dumps(body, indent=2)
