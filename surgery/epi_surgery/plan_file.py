"""Plans as JSON files: small, diffable, and checked in every field when read."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from epi_surgery.aim import LAYOUTS, SPREADS, TARGETS, Aim
from epi_surgery.architecture import Architecture
from epi_surgery.cost import PerToken
from epi_surgery.document import Kind, body_of, model_of, read
from epi_surgery.errors import BadPlan, SurgeryError
from epi_surgery.gqa import LayerHeads, keep, keep_any
from epi_surgery.output import write_text
from epi_surgery.plan import Plan
from epi_surgery.rules import ENGINES
from epi_surgery.shares import Count, Shares

KIND = Kind("plan", "epi-surgery plan", 2, BadPlan)


def plan_json(plan: Plan) -> str:
    """The plan as text; the same plan always gives the same bytes."""
    body: dict[str, Any] = {"format": KIND.format, "version": KIND.version, **asdict(plan)}
    for count in [*body["shares"].values(), body["per_token"]["flops"], body["per_token"]["read_bytes"]]:
        count["removed_share"] = round(Count(**count).removed_share, 6)
    layers = ",\n  ".join(json.dumps(layer) for layer in body.pop("layers"))
    rest = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in body.items())
    return f'{{\n{rest},\n"layers": [\n  {layers}\n]\n}}\n'


def write_plan(path: Path, plan: Plan) -> None:
    """Write the plan whole or not at all."""
    write_text(path, plan_json(plan))


def read_plan(path: Path) -> Plan:
    """Read and check a plan; raises BadPlan with the file's name and the field that is wrong."""
    return read(path, KIND, parse_plan)


def parse_plan(text: str) -> Plan:
    """The plan in a JSON text; raises BadPlan where any field is missing, of the wrong kind, or impossible."""
    body = body_of(text, KIND)
    arch = _architecture(_section(body, "architecture"))
    aim, engine = _aim(_section(body, "aim")), _text(body, "engine")
    plan = Plan(
        model_of(body, KIND),
        arch,
        _text(body, "criterion"),
        aim,
        _layers(body.get("layers"), arch, aim, engine),
        _shares(_section(body, "shares")),
        _per_token(_section(body, "per_token")),
        engine,
        _count(body, "nodes"),
        _flag(body, "k_quants"),
    )
    _check_consistent(plan)
    return plan


def _check_consistent(plan: Plan) -> None:
    if plan.engine not in ENGINES:
        raise BadPlan(f"it is for the engine '{plan.engine}', and only {', '.join(ENGINES)} are known")
    if plan.nodes < 1:
        raise BadPlan("'nodes' must be 1 or more")
    kept = sum(len(layer.query) for layer in plan.layers), sum(len(layer.kv) for layer in plan.layers)
    if (plan.shares.query_heads.after, plan.shares.kv_heads.after) != kept:
        raise BadPlan("the shares do not fit the head lists: it was edited by hand; make it again with epi-surgery plan")


def _architecture(body: Mapping[str, Any]) -> Architecture:
    numbers = {name: _count(body, name) for name in ("n_layer", "n_embd", "n_vocab", "head_dim_k", "head_dim_v")}
    n_layer = numbers["n_layer"]
    return Architecture(
        name=_text(body, "name"),
        n_head=_indices(body.get("n_head"), "n_head", n_layer),
        n_kv=_indices(body.get("n_kv"), "n_kv", n_layer),
        n_ff=_indices(body.get("n_ff"), "n_ff", n_layer),
        **numbers,
    )


def _layers(body: object, arch: Architecture, aim: Aim, engine: str) -> tuple[LayerHeads, ...]:
    if not isinstance(body, list) or len(body) != arch.n_layer:
        raise BadPlan(f"'layers' must list the {arch.n_layer} layers of the model")
    ragged = aim.layout == "ragged" or (aim.layout == "auto" and engine == "torch")
    return tuple(_layer(entry, layer, arch, ragged, aim.attention_free) for layer, entry in enumerate(body))


def _layer(body: object, layer: int, arch: Architecture, ragged: bool, attention_free: bool) -> LayerHeads:
    if not isinstance(body, dict):
        raise BadPlan(f"layer {layer} is not an object with 'query' and 'kv'")
    query = _indices(body.get("query"), f"query of layer {layer}")
    kv = _indices(body.get("kv"), f"kv of layer {layer}")
    if arch.n_head[layer] == 0 or (not query and attention_free):
        expected = LayerHeads((), ())
    elif not query:
        raise BadPlan(
            f"layer {layer} would keep no head; at least one KV group with one query head must stay in each layer, "
            "unless the plan was made with --attention-free"
        )
    else:
        try:
            expected = (keep_any if ragged else keep)(query, arch.n_head[layer], arch.n_kv[layer])
        except SurgeryError as error:
            raise BadPlan(f"layer {layer}: {error}") from error
    if (query, kv) != (expected.query, expected.kv):
        raise BadPlan(f"layer {layer}: heads must be ascending, each once, with exactly the KV heads that the query heads read")
    return expected


def _aim(body: Mapping[str, Any]) -> Aim:
    fraction = body.get("fraction")
    if not isinstance(fraction, int | float) or isinstance(fraction, bool) or not 0 < fraction < 1:
        raise BadPlan("'fraction' is not a number between 0 and 1")
    for name, known in (("layout", LAYOUTS), ("spread", SPREADS), ("target", TARGETS)):
        if _text(body, name) not in known:
            raise BadPlan(f"{name} '{body[name]}' is not known; upgrade epi-surgery")
    protected, attention_free = _indices(body.get("protected"), "protected"), _flag(body, "attention_free")
    return Aim(float(fraction), body["layout"], body["spread"], body["target"], protected, attention_free)


def _shares(body: Mapping[str, Any]) -> Shares:
    return Shares(**{field.name: _before_after(body, field.name) for field in fields(Shares)})


def _per_token(body: Mapping[str, Any]) -> PerToken:
    return PerToken(_count(body, "context"), _before_after(body, "flops"), _before_after(body, "read_bytes"))


def _before_after(body: Mapping[str, Any], name: str) -> Count:
    section = _section(body, name)
    return Count(_count(section, "before"), _count(section, "after"))


def _section(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = body.get(name)
    if not isinstance(section, dict):
        raise BadPlan(f"the section '{name}' is missing")
    return section


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadPlan(f"'{name}' is missing or not text")
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool):
        raise BadPlan(f"'{name}' is neither true nor false")
    return value


def _count(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadPlan(f"'{name}' is missing or not a whole number")
    return value


def _indices(value: object, name: str, length: int | None = None) -> tuple[int, ...]:
    numbers = value if isinstance(value, list) else [None]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        raise BadPlan(f"'{name}' is not a list of whole numbers")
    if length is not None and len(numbers) != length:
        raise BadPlan(f"'{name}' has {len(numbers)} entries for {length} layers")
    return tuple(numbers)
