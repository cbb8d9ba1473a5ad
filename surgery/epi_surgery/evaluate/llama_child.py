"""A model in llama.cpp that answers requests until its input ends, in a process of its own whose death is an answer.

Requests are JSON lines on stdin; an answer is a JSON line, behind it a float32 array where `shape` tells of one:

    {"tokenize": [text, …]}                           -> {"ok": [[id, …], …]}
    {"detokenize": [id, …]}                           -> {"ok": text}
    {"tokens": …, "parents": …, "owners": …, "depths": …, "nodes": …, "what": "log_probs" | "logits"}
                                                      -> {"shape": [n, …]} + n x … x 4 bytes
"""

import ctypes
import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from epi_surgery.engine_child import EngineError, quiet_log
from epi_surgery.evaluate.engine import log_sum_exp

_TOKEN_NULL = -1


class Session:
    """One loaded model with a context that holds one prefix tree at a time."""

    def __init__(self, lib: Any, job: dict[str, Any]) -> None:
        self._lib = lib
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(job["model"].encode(), params)
        if not self._model:
            raise EngineError("llama.cpp cannot load the model")
        context = lib.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = job["n_nodes"]
        context.n_seq_max, context.kv_unified = job["n_sequences"], True
        context.n_threads = context.n_threads_batch = job["n_threads"]
        self._context = lib.llama_init_from_model(self._model, context)
        if not self._context:
            raise EngineError("llama.cpp cannot make a context for the model")
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._n_vocab = lib.llama_vocab_n_tokens(self._vocab)
        self._batch = lib.llama_batch_init(job["n_nodes"], 0, job["n_sequences"])

    def facts(self) -> dict[str, Any]:
        """What the parent asks once."""
        bos = self._lib.llama_vocab_bos(self._vocab)
        return {"bos": None if bos == _TOKEN_NULL else bos}

    def tokenize(self, text: str) -> list[int]:
        """Token ids without special ones."""
        data = text.encode()
        # Some tokenizers write one space as three tokens of a byte each.
        buffer = (ctypes.c_int32 * (4 * len(data) + 8))()
        count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, len(buffer), False, False)
        if count < 0:
            raise EngineError(f"llama.cpp cannot tokenise a text of {len(data)} bytes")
        return list(buffer[:count])

    def text(self, tokens: list[int]) -> str:
        """What the tokens say; bytes that are no whole letter are replaced."""
        ids, buffer = (ctypes.c_int32 * len(tokens))(*tokens), ctypes.create_string_buffer(64 * len(tokens) + 8)
        count = self._lib.llama_detokenize(self._vocab, ids, len(tokens), buffer, len(buffer), False, True)
        if count < 0:
            raise EngineError(f"llama.cpp cannot write {len(tokens)} tokens as text")
        return buffer.raw[:count].decode("utf-8", errors="replace")

    def answer(self, request: dict[str, Any]) -> npt.NDArray[np.float32]:
        """Log-probabilities of the nodes' tokens, or the logits behind the nodes."""
        nodes, parents = request["nodes"], request["parents"]
        if request["what"] == "logits":
            rows = self._decode(request, set(nodes))
            return np.stack([rows[node] for node in nodes])
        rows = self._decode(request, {parents[node] for node in nodes})
        # Row by row each stays in the processor's cache; all together they are tens of megabytes, several times over.
        norms = {source: log_sum_exp(row) for source, row in rows.items()}
        found = [rows[parents[node]][request["tokens"][node]] - norms[parents[node]] for node in nodes]
        return np.array(found, dtype=np.float32)

    def _decode(self, request: dict[str, Any], outputs: set[int]) -> dict[int, npt.NDArray[np.float32]]:
        """The logits behind each of the nodes, in the engine's memory: good until the next call."""
        batch = self._batch
        batch.n_tokens = len(request["tokens"])
        for node, (token, depth, owners) in enumerate(zip(request["tokens"], request["depths"], request["owners"], strict=True)):
            batch.token[node], batch.pos[node], batch.logits[node] = token, depth, node in outputs
            batch.n_seq_id[node] = len(owners)
            for i, owner in enumerate(owners):
                batch.seq_id[node][i] = owner
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)
        status = self._lib.llama_decode(self._context, batch)
        if status:
            raise EngineError(f"llama.cpp could not decode a batch of {batch.n_tokens} tokens (status {status})")
        # Outputs lie in the order of the batch, whatever the order they are wanted in.
        rows = np.ctypeslib.as_array(self._lib.llama_get_logits(self._context), (len(outputs), self._n_vocab))
        return dict(zip(sorted(outputs), rows, strict=True))


def main() -> None:
    """Entry point of the child process: the first line is the job, each further one a request."""
    import llama_cpp

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever C code prints must not land between the answers
    callback = quiet_log(llama_cpp)
    llama_cpp.llama_backend_init()
    try:
        session = Session(llama_cpp, json.loads(sys.stdin.readline()))
        _say(out, {"ok": session.facts()})
        for line in sys.stdin:
            request = json.loads(line)
            if "tokenize" in request:
                _say(out, {"ok": [session.tokenize(text) for text in request["tokenize"]]})
            elif "detokenize" in request:
                _say(out, {"ok": session.text(request["detokenize"])})
            else:
                _send(out, session.answer(request))
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)
    finally:
        del callback  # llama.cpp held a bare pointer to it until here


def _say(out: BinaryIO, body: dict[str, Any]) -> None:
    out.write(json.dumps(body).encode() + b"\n")
    out.flush()


def _send(out: BinaryIO, array: npt.NDArray[np.float32]) -> None:
    out.write(json.dumps({"shape": array.shape}).encode() + b"\n")
    out.write(np.ascontiguousarray(array, dtype=np.float32).tobytes())
    out.flush()


if __name__ == "__main__":
    main()
