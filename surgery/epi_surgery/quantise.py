"""Quantise a model with llama.cpp's own quantiser, and say which tensors did not get what was asked for."""

import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gguf import GGMLQuantizationType

from epi_surgery.engine import cause, run_models
from epi_surgery.errors import ProofFailed, SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.hashing import file_sha256
from epi_surgery.output import check_space, final_name
from epi_surgery.progress import Bar
from epi_surgery.tensor import Tensor


@dataclass(frozen=True)
class Mix:
    """llama.h's number for a mix, the block its bulk is stored in, and the least bits a weight takes in it."""

    ftype: int
    block: int
    bits: float


MIXES = {
    "F32": Mix(0, 1, 32),
    "F16": Mix(1, 1, 16),
    "BF16": Mix(32, 1, 16),
    "Q8_0": Mix(7, 32, 8.5),
    "Q5_0": Mix(8, 32, 5.5),
    "Q4_1": Mix(3, 32, 5),
    "Q4_0": Mix(2, 32, 4.5),
    "Q6_K": Mix(18, 256, 6.5625),
    "Q5_K_M": Mix(17, 256, 5.5),
    "Q4_K_M": Mix(15, 256, 4.5),
}
_FLOATS = {GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16}
_PROGRESS = re.compile(r"^\[\s*\d+/\s*\d+\]")
_KEPT_LINES = 200


@dataclass(frozen=True)
class Fallback:
    """A tensor whose row length the mix's blocks do not divide, and the type it got instead."""

    name: str
    row_length: int
    type: str


@dataclass(frozen=True)
class Export:
    """The written file, and the tensors that fell back."""

    path: Path
    sha256: str
    n_bytes: int
    mix: str
    fallbacks: tuple[Fallback, ...]


def export(model: GgufFile, mix: str, out: Path, allow_requantize: bool, bar: Bar) -> Export:
    """Quantise `model` to `mix`; raises SurgeryError, with nothing left behind, where that loses twice or the engine refuses."""
    stored = next((tensor for tensor in model.tensors.values() if tensor.type not in _FLOATS), None)
    if stored is not None and not allow_requantize:
        raise SurgeryError(
            f"{model.path}: tensor {stored.name} is {stored.type.name} already; quantising it again loses twice: "
            "export from a float model, or add --allow-requantize"
        )
    check_space(out.parent, round(sum(tensor.n_elements for tensor in model.tensors.values()) * MIXES[mix].bits / 8))
    with final_name(out) as part:
        with bar("quantising", len(model.tensors)) as advance:
            _quantise(model.path, part, mix, allow_requantize, advance)
        run_models({"the exported model": part}, 20, 1)
        with GgufFile(part) as written, bar("hashing", written.n_bytes) as advance:
            sha256 = file_sha256(part, None, advance)
            return Export(out, sha256, written.n_bytes, mix, fallbacks(list(written.tensors.values()), mix))


def fallbacks(tensors: list[Tensor], mix: str) -> tuple[Fallback, ...]:
    """The matrices whose rows are no whole number of the mix's blocks."""
    block = MIXES[mix].block
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1 and tensor.shape[0] % block]
    return tuple(Fallback(tensor.name, tensor.shape[0], tensor.type.name) for tensor in matrices)


def _quantise(source: Path, target: Path, mix: str, allow_requantize: bool, advance: Callable[[int], None]) -> None:
    job = {"source": str(source), "target": str(target), "ftype": MIXES[mix].ftype, "allow_requantize": allow_requantize}
    job["n_threads"] = len(os.sched_getaffinity(0))
    with subprocess.Popen(
        [sys.executable, "-m", "epi_surgery.quantise_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    ) as child:
        try:
            assert child.stdin is not None and child.stderr is not None
            child.stdin.write(json.dumps(job).encode())
            child.stdin.close()
            tail = _follow(child.stderr, advance)
        except BaseException:
            child.kill()  # inside the engine it would not hear Ctrl-C before it is done
            raise
    if "iostream error" in tail:
        raise SurgeryError(f"{target.parent}: the disk is full, or became unwritable; nothing was left behind")
    if child.returncode:
        raise ProofFailed(f"quantising to {mix}: {cause(child.returncode, tail)}")


def _follow(log: IO[bytes], advance: Callable[[int], None]) -> str:
    """Advance at each tensor's line; returns the last lines of the log."""
    tail: deque[str] = deque(maxlen=_KEPT_LINES)
    for raw in log:
        line = raw.decode("utf-8", errors="replace")
        tail.append(line)  # an error ends the very line that announced a tensor
        if _PROGRESS.match(line):
            advance(1)
    return "".join(tail)
