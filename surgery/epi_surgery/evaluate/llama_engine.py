"""llama.cpp as an engine of evaluation: requests to a child process that holds the model."""

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from epi_surgery.engine import cause, check_engine
from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.engine import Floats, Limits
from epi_surgery.evaluate.prefix_tree import PrefixTree


class LlamaEngine:
    """A GGUF in llama.cpp, as deployed: its own kernels, quantisation and F16 cache."""

    def __init__(self, path: Path, limits: Limits) -> None:
        check_engine()
        self.name = f"llama.cpp (llama-cpp-python {importlib.metadata.version('llama-cpp-python')})"
        self.limits, self._path = limits, path
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the child
        self._child = subprocess.Popen(
            [sys.executable, "-m", "epi_surgery.evaluate.llama_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )
        job = {"model": str(path), "n_nodes": limits.nodes, "n_sequences": limits.sequences}
        self.bos: int | None = self._ask(job | {"n_threads": len(os.sched_getaffinity(0))})["bos"]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special ones."""
        return self._ask({"tokenize": list(texts)})

    def text_of(self, tokens: Sequence[int]) -> str:
        """The tokens as text."""
        return str(self._ask({"detokenize": list(tokens)}))

    def log_probs(self, tree: PrefixTree, nodes: Sequence[int]) -> Floats:
        """ln p(token of the node | its ancestors)."""
        return self._ask(self._request(tree, nodes, "log_probs"))

    def logits(self, tree: PrefixTree, nodes: Sequence[int]) -> Floats:
        """What follows each node, (node, vocabulary)."""
        return self._ask(self._request(tree, nodes, "logits"))

    def close(self) -> None:
        """End the child."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.kill()  # it only waits, or computes what nobody will read
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()
        self._log.close()

    def _request(self, tree: PrefixTree, nodes: Sequence[int], what: str) -> dict[str, Any]:
        if len(tree.tokens) > self.limits.nodes:
            raise SurgeryError(f"a text of {len(tree.tokens)} tokens is longer than one pass takes ({self.limits.nodes})")
        body = {"tokens": tree.tokens, "parents": tree.parents, "depths": tree.depths, "owners": tree.owners()}
        return {**body, "nodes": list(nodes), "what": what}

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
            body = json.loads(line) if line else None
        except BrokenPipeError:
            body = None
        if body is None:
            raise SurgeryError(f"{self._path}: {self._last_words()}")
        return self._array(body["shape"]) if "shape" in body else body["ok"]

    def _array(self, shape: list[int]) -> Floats:
        assert self._child.stdout is not None
        data = self._child.stdout.read(4 * prod(shape))
        if len(data) != 4 * prod(shape):
            raise SurgeryError(f"{self._path}: {self._last_words()}")
        return np.frombuffer(data, dtype=np.float32).reshape(shape)

    def _last_words(self) -> str:
        assert self._child.stdin is not None
        self._child.stdin.close()
        status = self._child.wait()
        self._log.seek(0)
        return cause(status, self._log.read().decode("utf-8", errors="replace"))
