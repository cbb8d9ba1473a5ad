"""The program's llama.cpp, asked about a context of its own making without disturbing it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..llama.opmap import Node

PROBE_TOKENS = 256
"""A graph has the same nodes in a small context."""


class BorrowedContext:
    """A context by its handle, with what a tracer needs of it."""

    def __init__(self, c: Any, handle: Any) -> None:
        self._c, self._handle = c, handle
        self._op_callback: Any = None

    def set_op_callback(self, callback: tuple[int, int] | None, _holding: tuple[int, int] | None = None) -> None:
        """Have (address, user data) called after each operation, or nothing. The program never holds the GIL inside."""
        address, data = callback or (0, 0)
        self._op_callback = self._c.ggml_abort_callback(address) if address else self._c.ggml_abort_callback()
        self._c.llama_set_abort_callback(self._handle, self._op_callback, data)

    def decode(self, tokens: Sequence[int]) -> None:
        """Compute tokens; only for probes, as it adds to what the context remembers."""
        array = (self._c.llama_token * len(tokens))(*tokens)
        self._c.llama_decode(self._handle, self._c.llama_batch_get_one(array, len(tokens)))

    def forget(self, position: int = 0) -> None:
        """Drop all tokens from `position` on."""
        self._c.llama_memory_seq_rm(self._c.llama_get_memory(self._handle), 0, position, -1)

    def close(self) -> None:
        """Free the context; only for probes."""
        self._c.llama_free(self._handle)


class BorrowedModel:
    """The model of one of the program's contexts. Probes are small contexts made as that one was."""

    def __init__(self, c: Any, model: Any, parameters: Any) -> None:
        self._c, self._model, self._parameters = c, model, parameters

    def probe(self, node_callback: Any = None) -> BorrowedContext | None:
        """Return a new small context, or None where the engine gives none."""
        parameters = type(self._parameters).from_buffer_copy(self._parameters)
        parameters.n_ctx = min(parameters.n_ctx or PROBE_TOKENS, PROBE_TOKENS)
        parameters.n_batch = min(parameters.n_batch, PROBE_TOKENS)
        parameters.n_ubatch = min(parameters.n_ubatch, PROBE_TOKENS)
        parameters.cb_eval = node_callback or self._c.ggml_backend_sched_eval_callback()
        parameters.cb_eval_user_data = None
        handle = self._c.llama_init_from_model(self._model, parameters)
        return BorrowedContext(self._c, handle) if handle else None

    def graph(self, tokens: int) -> list[Node]:
        """Return the nodes that compute `tokens` tokens, in order, by computing them once in a probe."""
        nodes: list[Node] = []
        name, op = _readers(self._c)

        def note(tensor: int, ask: bool, _data: object) -> bool:
            if ask:
                nodes.append(Node(name(tensor).decode(), op(tensor).decode()))
            return False

        callback = self._c.ggml_backend_sched_eval_callback(note)
        context = self.probe(callback)
        if context is not None:
            context.decode([0] * tokens)
            context.close()
        return nodes


@contextmanager
def silenced(c: Any) -> Iterator[None]:
    """Keep what the engine says about us from the program's stderr; its own log callback is back afterwards."""
    callback, data = c.llama_log_callback(), ctypes.c_void_p()
    c.llama_log_get(ctypes.byref(callback), ctypes.byref(data))
    silence = c.llama_log_callback(lambda _level, _text, _data: None)
    c.llama_log_set(silence, None)
    try:
        yield
    finally:
        c.llama_log_set(callback, data)


def _readers(c: Any) -> tuple[Any, Any]:
    """Return the functions that read a node; the binding does not declare them, but its library brings them along."""
    prototype = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)
    return prototype(("ggml_get_name", c._lib)), prototype(("ggml_op_desc", c._lib))
