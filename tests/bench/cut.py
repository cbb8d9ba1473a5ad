"""How long a cut takes beside `cp` of the same file, and how much memory: an 8B-shaped GGUF with random weights.

    python tests/bench/cut.py --layers 32 --folder /somewhere/with/10/GB

The model is hashed once beforehand, as `epi-surgery plan` does; both sides then read a file that the system may have in its
cache, write a new one, and are timed until it is on the disk (sync). Paired and alternating; the median ratio counts.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType

from epi_surgery.gguf_write import write_gguf
from epi_surgery.metadata import string, uint32
from epi_surgery.recipe import Recipe

N_EMBD, N_FF, N_HEAD, N_KV, HEAD_DIM, N_VOCAB = 4096, 14336, 32, 8, 128, 128256
Q4_0, F32 = GGMLQuantizationType.Q4_0, GGMLQuantizationType.F32


def write_8b(path: Path, n_layer: int) -> None:
    """Llama-3.1-8B's shapes in Q4_0; blocks are random bytes, which every reader takes. Never whole in memory."""
    numbers = {"block_count": n_layer, "context_length": 8192, "embedding_length": N_EMBD, "feed_forward_length": N_FF}
    numbers |= {"attention.head_count": N_HEAD, "attention.head_count_kv": N_KV}
    entries = [string("general.architecture", "llama"), *(uint32(f"llama.{key}", value) for key, value in numbers.items())]
    block = np.random.default_rng(0).integers(0, 256, 18 << 18, dtype=np.uint8).tobytes()
    matrices = {"token_embd": (N_EMBD, N_VOCAB), "output": (N_EMBD, N_VOCAB)}
    vectors = ["output_norm"]
    for layer in range(n_layer):
        at = f"blk.{layer}."
        matrices |= {at + "attn_q": (N_EMBD, N_HEAD * HEAD_DIM), at + "attn_output": (N_HEAD * HEAD_DIM, N_EMBD)}
        matrices |= {at + part: (N_EMBD, N_KV * HEAD_DIM) for part in ("attn_k", "attn_v")}
        matrices |= {at + "ffn_gate": (N_EMBD, N_FF), at + "ffn_up": (N_EMBD, N_FF), at + "ffn_down": (N_FF, N_EMBD)}
        vectors += [at + "attn_norm", at + "ffn_norm"]
    recipes = [
        Recipe(f"{name}.weight", Q4_0, shape, partial(_repeated, block, prod(shape) // 32 * 18))
        for name, shape in matrices.items()
    ]
    ones = np.ones(N_EMBD, np.float32).tobytes()
    recipes += [Recipe(f"{name}.weight", F32, (N_EMBD,), partial(iter, [ones])) for name in vectors]
    with path.open("wb") as file:
        write_gguf(file.write, entries, recipes, 32)


def _repeated(block: bytes, n_bytes: int) -> Iterator[bytes]:
    for start in range(0, n_bytes, len(block)):
        yield block[: min(len(block), n_bytes - start)]


def timed(command: list[str], written: Path) -> float:
    """Seconds until the written file is on the disk."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with written.open("rb") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - start


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where some 10 GB are free [default: a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model, plan, out, copy = (folder / part for part in ("8b.gguf", "plan.json", "cut.gguf", "copy.gguf"))
        write_8b(model, options.layers)
        surgery = [sys.executable, "-m", "epi_surgery"]
        time.sleep(2.5)  # a file's hash is remembered only once it has rested
        choice = ["--fraction", "0.25", "--layout", "groups", "--criterion", "random", "--out", str(plan)]
        subprocess.run([*surgery, "plan", str(model), *choice], check=True, stdout=subprocess.DEVNULL)
        seconds: dict[str, list[float]] = {"cp": [], "cut": []}
        for _ in range(options.rounds):
            for path in (out, copy):
                path.unlink(missing_ok=True)
            os.sync()
            seconds["cp"].append(timed(["cp", str(model), str(copy)], copy))
            seconds["cut"].append(timed([*surgery, "cut", str(model), str(plan), "--out", str(out), "--no-prove"], out))
        ratios = [cut / cp for cut, cp in zip(seconds["cut"], seconds["cp"], strict=True)]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
        body = {"model_bytes": model.stat().st_size, "cut_bytes": out.stat().st_size, "seconds": seconds}
        print(json.dumps(body | {"ratios": ratios, "median_ratio": statistics.median(ratios), "peak_bytes": peak}, indent=1))


if __name__ == "__main__":
    main()
