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
from pathlib import Path

import gguf
import numpy as np

N_EMBD, N_FF, N_HEAD, N_KV, HEAD_DIM, N_VOCAB = 4096, 14336, 32, 8, 128, 128256
Q4_0 = gguf.GGMLQuantizationType.Q4_0


def write_8b(path: Path, n_layer: int) -> None:
    """Llama-3.1-8B's shapes in Q4_0; blocks are random bytes, which every reader takes."""
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=False)
    writer.add_block_count(n_layer)
    writer.add_context_length(8192)
    writer.add_embedding_length(N_EMBD)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_KV)
    writer.add_layer_norm_rms_eps(1e-5)
    block = np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = np.resize(block, (rows, columns // 32 * 18))
        writer.add_tensor(name, values, raw_dtype=Q4_0)

    matrix("token_embd.weight", N_VOCAB, N_EMBD)
    matrix("output.weight", N_VOCAB, N_EMBD)
    writer.add_tensor("output_norm.weight", np.ones(N_EMBD, np.float32))
    for layer in range(n_layer):
        at = f"blk.{layer}."
        matrix(at + "attn_q.weight", N_HEAD * HEAD_DIM, N_EMBD)
        for part in ("attn_k", "attn_v"):
            matrix(f"{at}{part}.weight", N_KV * HEAD_DIM, N_EMBD)
        matrix(at + "attn_output.weight", N_EMBD, N_HEAD * HEAD_DIM)
        for part, rows, columns in (("gate", N_FF, N_EMBD), ("up", N_FF, N_EMBD), ("down", N_EMBD, N_FF)):
            matrix(f"{at}ffn_{part}.weight", rows, columns)
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{at}{part}.weight", np.ones(N_EMBD, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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
