"""Export a GGUF, cut or not, to distributed-llama: checked, written under temporary names, and only then given final ones."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from math import log10
from pathlib import Path

from epi_surgery.architecture import Architecture, architecture_of
from epi_surgery.dllama.model_file import Numbers, header, write_weights
from epi_surgery.dllama.rotation import scaling_of
from epi_surgery.dllama.shape import NodeShape, node_shape
from epi_surgery.dllama.vocabulary import tokenizer_file, vocabulary_of
from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.metadata import entry_value
from epi_surgery.output import check_space, final_name
from epi_surgery.progress import Bar

_Q40_BLOCK, _F32_LANES = 32, 8
_BLOCK_BYTES = {"f32": 4.0, "q40": 18 / 32}


@dataclass(frozen=True)
class DllamaExport:
    """The written files; `added` says what fills up the shape, None for nothing."""

    path: Path
    tokenizer: Path
    sha256: str
    n_bytes: int
    n_head: int
    n_kv: int
    nodes: int
    added: str | None


def export_dllama(model: GgufFile, weights: str, nodes: int, out: Path, bar: Bar) -> DllamaExport:
    """Write `out` and the tokenizer beside it; raises SurgeryError for what the engine would abort on or compute wrongly."""
    arch = architecture_of(model)
    _check_architecture(model, arch)
    shape = node_shape(arch.n_head, arch.n_kv, nodes)
    _check_divisible(model, arch, shape, weights, nodes)
    numbers, vocabulary = _numbers(model, arch), vocabulary_of(model)
    n_elements = sum(tensor.n_elements for tensor in model.tensors.values())
    check_space(out.parent, round(n_elements * _BLOCK_BYTES[weights]) + 4 * arch.n_vocab * arch.n_embd)
    tokenizer = out.with_suffix(".t")
    digest = hashlib.sha256()
    with final_name(tokenizer) as tokenizer_part, final_name(out) as part:
        tokenizer_part.write_bytes(tokenizer_file(vocabulary))
        with part.open("wb") as file, bar("writing the model", n_elements) as advance:
            write = _hashed(file.write, digest.update, advance, _BLOCK_BYTES[weights])
            write(header(arch, shape, numbers, weights))
            write_weights(model, arch, shape, list(vocabulary.order), weights, write)
            n_bytes = file.tell()
    return DllamaExport(out, tokenizer, digest.hexdigest(), n_bytes, shape.n_head, shape.n_kv, nodes, shape.added)


def _hashed(
    put: Callable[[bytes], object], update: Callable[[bytes], object], advance: Callable[[int], None], unit: float
) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        put(data)
        update(data)
        advance(round(len(data) / unit))

    return write


def _check_architecture(model: GgufFile, arch: Architecture) -> None:
    if arch.name not in ("llama", "deci"):
        raise UnsupportedModel(
            f"{model.path}: architecture '{arch.name}' cannot be exported to distributed-llama; llama and deci can"
        )
    if arch.head_dim_k != arch.head_dim_v or len(set(arch.n_ff)) > 1:
        raise UnsupportedModel(f"{model.path}: distributed-llama needs one head dimension and one feed-forward width")
    bias = next((name for name in model.tensors if name.endswith(".bias")), None)
    if bias is not None:
        raise UnsupportedModel(f"{model.path}: tensor {bias}: distributed-llama knows no biases")


def _check_divisible(model: GgufFile, arch: Architecture, shape: NodeShape, weights: str, nodes: int) -> None:
    unit = _Q40_BLOCK if weights == "q40" else _F32_LANES
    widths = {"embedding": (arch.n_embd, 1), "query width": (shape.n_head * arch.head_dim_k, nodes)}
    widths |= {"key width": (shape.n_kv * arch.head_dim_k, nodes), "feed-forward width": (arch.n_ff[0], nodes)}
    for name, (width, parts) in widths.items():
        if width % (parts * unit):
            raise UnsupportedModel(
                f"{model.path}: the {name} of {width} on {parts} nodes is no multiple of {unit}, which {weights} needs: "
                "distributed-llama would abort"
            )
    if arch.n_vocab % nodes:
        raise UnsupportedModel(f"{model.path}: a vocabulary of {arch.n_vocab:,} cannot be shared by {nodes} nodes")


def _numbers(model: GgufFile, arch: Architecture) -> Numbers:
    theta = _real(model, f"{arch.name}.rope.freq_base", 10000.0)
    epsilon = round(-log10(_real(model, f"{arch.name}.attention.layer_norm_rms_epsilon", 1e-5)))
    if epsilon not in (5, 6):
        raise UnsupportedModel(f"{model.path}: an epsilon of 1e-{epsilon} for norms; distributed-llama knows 1e-5 and 1e-6")
    context = model.number(f"{arch.name}.context_length")
    return Numbers(context, round(theta), epsilon, scaling_of(model, theta, arch.head_dim_k))


def _real(model: GgufFile, key: str, default: float) -> float:
    value = entry_value(model.entries[key]) if key in model.entries else default
    if not isinstance(value, int | float):
        raise UnsupportedModel(f"{model.path}: the key {key} is not a number")
    return float(value)
