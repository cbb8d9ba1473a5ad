"""A cut model as a folder: the donor's configuration, the plan, the tensors of the heads that stayed, the tokenizer.

transformers cannot say a head count that is no divisor of the embedding, nor one per layer, so it refuses to save or load
such a Llama; the donor's configuration with the plan beside it says everything.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from epi_surgery.errors import SurgeryError, UnsupportedModel
from epi_surgery.gqa import LayerHeads
from epi_surgery.model.attention import AttentionLayer
from epi_surgery.plan import Plan
from epi_surgery.plan_file import plan_json, read_plan
from epi_surgery.torch_cut.cutting import FAMILIES, cut_model
from epi_surgery.torch_cut.places import groups_of, renumbered
from epi_surgery.torch_cut.write_safetensors import write_safetensors

WEIGHTS, PLAN, CONFIG = "model.safetensors", "plan.json", "config.json"
MARK = "epi_surgery_checkpoint"
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
_NOT_COPIED = (".safetensors", ".bin", ".pt", ".gguf", "index.json", "plan.json", CONFIG)


def is_checkpoint(path: Path) -> bool:
    """Whether the folder is one of ours."""
    return path.is_dir() and (path / PLAN).is_file() and MARK in _config(path)


def save(folder: Path, config: dict[str, Any], plan: Plan, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write configuration, plan and the cut tensors into an existing, empty folder."""
    if config.get("model_type") not in FAMILIES:
        raise UnsupportedModel(
            f"model type '{config.get('model_type')}' cannot be cut in PyTorch; these can: {', '.join(FAMILIES)}"
        )
    write_safetensors(folder / WEIGHTS, cut_tensors(tensors, plan))
    (folder / PLAN).write_text(plan_json(plan), encoding="utf-8")
    (folder / CONFIG).write_text(json.dumps(config | {MARK: 1}, indent=1) + "\n", encoding="utf-8")


def copy_tokenizer(donor: Path, folder: Path) -> None:
    """The donor's small files: tokenizer, templates, generation settings."""
    for file in donor.iterdir():
        if file.is_file() and not file.name.endswith(_NOT_COPIED) and file.suffix in (".json", ".txt", ".model", ".jinja"):
            shutil.copyfile(file, folder / file.name)


def cut_tensors(tensors: Iterable[tuple[str, Tensor]], plan: Plan) -> Iterator[tuple[str, Tensor]]:
    """Every tensor with only the kept heads; none of the attention of a layer that lost it all."""
    for name, tensor in tensors:
        parts = name.split(".")
        if "self_attn" not in parts:
            yield name, tensor
            continue
        heads = plan.layers[int(parts[2])]
        if heads.query:
            yield name, _cut(tensor, parts[-2], parts[-1], heads, plan.architecture.head_dim_k)


def _cut(tensor: Tensor, kind: str, leaf: str, heads: LayerHeads, width: int) -> Tensor:
    if kind not in _PROJECTIONS or (kind == "o_proj" and leaf == "bias"):
        return tensor
    if kind == "o_proj":
        return tensor.unflatten(1, (-1, width))[:, list(heads.query)].flatten(1)
    return tensor.unflatten(0, (-1, width))[list(heads.query if kind == "q_proj" else heads.kv)].flatten(0, 1)


def load(path: Path | str, dtype: torch.dtype | None = None) -> Any:
    """The cut model, in evaluation mode, with transformers' `generate`; `dtype` None keeps the stored one.

    Raises SurgeryError for a folder that is not a whole checkpoint.
    """
    folder = Path(path)
    if not is_checkpoint(folder):
        raise SurgeryError(f"{folder}: not a checkpoint of epi-surgery cut (no {PLAN}, or a {CONFIG} that does not say so)")
    plan = read_plan(folder / PLAN)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    stored = _tensors(folder / WEIGHTS)
    kind = dtype or next(iter(stored.values())).dtype
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=kind)
    _fill(model, {name: tensor.to(kind) for name, tensor in stored.items()}, folder)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    arch = plan.architecture
    kept = [groups_of(heads, arch.n_head[i], arch.n_kv[i]) for i, heads in enumerate(plan.layers)]
    cut_model(model, _layers(model, plan), [renumbered(groups) for groups in kept])
    _check(model, folder)
    return model.eval().requires_grad_(False)


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 -- not a mapping
    except Exception as error:  # safetensors has exceptions of its own for each kind of damage
        raise SurgeryError(f"{file}: damaged or missing: {error}; cut the model again") from error


def _fill(model: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        try:
            module = model.get_submodule(owner)
        except AttributeError:
            raise SurgeryError(f"{folder}: tensor {name} has no place in a {type(model).__name__}") from None
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


def _layers(model: Any, plan: Plan) -> list[AttentionLayer]:
    counts = enumerate(plan.layers)
    width = plan.architecture.head_dim_k
    modules = [layer.self_attn for layer in model.model.layers]
    return [AttentionLayer(i, modules[i], len(heads.query), len(heads.kv), width) for i, heads in counts]


def _check(model: nn.Module, folder: Path) -> None:
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise SurgeryError(f"{folder}: no tensor gives {name}: not a whole checkpoint; cut the model again")


def _config(folder: Path) -> dict[str, Any]:
    try:
        body = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # not ours, then
    return body if isinstance(body, dict) else {}
