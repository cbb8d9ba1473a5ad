"""llama.cpp as an optional, untrusted neighbour: run in a child process whose death is an answer, not our end."""

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epi_surgery.errors import ProofFailed, SurgeryError

PROMPT = "The energy that a machine needs to write one more word is small, but it writes many words, and every joule is paid for."
_TELLING = re.compile(r"GGML_ASSERT|error|fail|invalid|wrong|missing|not found", re.IGNORECASE)


@dataclass(frozen=True)
class EngineRun:
    """What one model answered: tokens fed, and logits after each, shape (tokens, vocabulary)."""

    tokens: npt.NDArray[np.int32]
    logits: npt.NDArray[np.float32]


def check_engine() -> None:
    """Raise SurgeryError where llama-cpp-python is not installed."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise SurgeryError(
            "the proof runs the model through llama-cpp-python, which is not installed: "
            "pip install 'epi-surgery[engine]', or skip the proof with --no-prove"
        )


def run_models(models: Mapping[str, Path], n_prompt: int, n_decode: int) -> list[EngineRun]:
    """Feed all models the same prompt and the first one's greedy continuation.

    `models` maps what a person calls each to its file. Raises ProofFailed naming the one that the engine refuses.
    """
    n_threads = len(os.sched_getaffinity(0))
    paths = [str(path) for path in models.values()]
    job = {"models": paths, "text": PROMPT, "n_prompt": n_prompt, "n_decode": n_decode, "n_threads": n_threads}
    done = subprocess.run(
        [sys.executable, "-m", "epi_surgery.engine_child"],
        input=json.dumps(job).encode(),
        capture_output=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        check=False,
    )
    runs = _answers(done.stdout, len(models))
    if done.returncode or len(runs) < len(models):
        name = [*models, "after the last model"][len(runs)]
        raise ProofFailed(f"{name}: {cause(done.returncode, done.stderr.decode('utf-8', errors='replace'))}")
    return runs


def cause(status: int, log: str) -> str:
    """Why a child process of the engine ended: how, and the first telling line of its log."""
    lines = [line.strip() for line in log.splitlines() if _TELLING.search(line)]
    end = f"llama.cpp was ended by {signal.Signals(-status).name}" if status < 0 else "llama.cpp refused the model"
    return f"{end}: {lines[0]}" if lines else end


def _answers(stdout: bytes, limit: int) -> list[EngineRun]:
    """The complete answers; a child that died in the middle leaves fewer."""
    stream = io.BytesIO(stdout)
    runs: list[EngineRun] = []
    try:
        while len(runs) < limit:
            runs.append(EngineRun(np.load(stream, allow_pickle=False), np.load(stream, allow_pickle=False)))
    except (EOFError, ValueError):
        return runs
    return runs
