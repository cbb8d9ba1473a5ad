"""llama.cpp through the low-level C interface of llama-cpp-python. The only file that loads the engine (and numpy with it).

Struct layouts belong to one release of the binding, so everything here goes through the binding's own declarations.
"""

from __future__ import annotations

import ctypes
import re
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy

from ..errors import HookrunError
from .opmap import Node
from .remote import RemoteDevice, add_servers
from .settings import CACHE_TYPES, FLASH_ATTENTION, ContextSettings, Row
from .tracer import Stopped

_c: Any = llama_cpp.llama_cpp
library = _c
_decode_holding = ctypes.PYFUNCTYPE(_c.llama_decode.restype, *_c.llama_decode.argtypes)(("llama_decode", _c._lib))
"""llama_decode by a thread that keeps the GIL meanwhile."""
_LOG_ERROR = 4
_ABORTED = 2
_ALL_LAYERS = 999
_PLACED = re.compile(r"layer +(\d+) assigned to device (\w+)")


class EngineLog:
    """Keeps the engine's last complaints instead of letting it print, and where it has put each layer."""

    def __init__(self, keep: int = 8) -> None:
        self._errors: deque[str] = deque(maxlen=keep)
        self.devices: dict[int, str] = {}
        """Name of the device by layer; the output head counts as one more."""
        self._callback = _c.llama_log_callback(self._on_line)
        _c.llama_log_set(self._callback, None)
        # The engine keeps an address only: it must not call what is gone, should something else in this process load a model.
        weakref.finalize(self, _give_log_back, _address(self._callback))

    def _on_line(self, level: int, text: bytes, _data: object) -> None:
        if level == _LOG_ERROR:
            self._errors.append(text.decode(errors="replace").strip())
        elif b"assigned to device" in text and (placed := _PLACED.search(text.decode(errors="replace"))):
            self.devices[int(placed[1])] = placed[2]

    def reason(self) -> str:
        """Return the first of the last complaints, which is the cause; the rest are its consequences."""
        return self._errors[0] if self._errors else "the engine gives no reason"


class Engine:
    """A loaded model on the CPU, or with its layers on the machines of `servers` (endpoints that `check_servers` has met).

    `repack` lets the engine store weights in the layout its fastest kernels want; None decides by what the engine was built for.
    """

    def __init__(
        self,
        path: Path,
        log: EngineLog,
        *,
        repack: bool | None = None,
        servers: Sequence[str] = (),
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Load a file; `go_on` is asked again and again meanwhile, and ends the loading with Stopped where it returns False."""
        self._log = log
        self.version = f"llama-cpp-python {llama_cpp.__version__}"
        self.system = _c.llama_print_system_info().decode().strip(" |")
        # GCC 12 drops the stores that fill the tile configuration of the AMX kernels; the first prompt then ends the process.
        self.has_amx = "AMX_INT8 = 1" in self.system
        self.repack = not self.has_amx if repack is None else repack
        parameters = _c.llama_model_default_params()
        remote = add_servers(servers)
        handles = (ctypes.c_void_p * (len(remote) + 1))(*(handle for handle, _device in remote))  # a last one of NULL
        parameters.n_gpu_layers = _ALL_LAYERS if remote else 0
        parameters.devices = ctypes.cast(handles, ctypes.c_void_p) if remote else None
        parameters.use_extra_bufts = self.repack
        on_progress = _c.llama_progress_callback(lambda _share, _data: go_on())
        parameters.progress_callback = on_progress
        self._model = _c.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            if not go_on():
                raise Stopped
            raise HookrunError(f"the engine cannot load {path}: {log.reason()}")
        self.placement = _placement(log.devices, [device for _handle, device in remote])
        """Endpoint that computes each layer, and the output head behind them; "local" is this machine."""
        self._vocab = _c.llama_model_get_vocab(self._model)
        self.vocabulary = _c.llama_vocab_n_tokens(self._vocab)
        if not _c.llama_model_has_decoder(self._model) or _c.llama_model_has_encoder(self._model):
            raise HookrunError(f"{path} holds a model that needs an encoder; `hookrun llama` runs decoders only")

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Return the tokens of a prompt, with the model's own begin mark; `special` reads marks written out in the text."""
        data = text.encode()
        room = len(data) + 8
        tokens = (_c.llama_token * room)()
        count = _c.llama_tokenize(self._vocab, data, len(data), tokens, room, True, special)
        if count < 0:
            raise HookrunError(f"the engine cannot tokenise the prompt of {len(data)} bytes")
        return list(tokens[:count])

    def text(self, tokens: Sequence[int]) -> str:
        """Return tokens as text."""
        room = 32 * len(tokens) + 64
        buffer = ctypes.create_string_buffer(room)
        array = (_c.llama_token * len(tokens))(*tokens)
        size = _c.llama_detokenize(self._vocab, array, len(tokens), buffer, room, False, True)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = _c.llama_detokenize(self._vocab, array, len(tokens), buffer, -size, False, True)
        return buffer.raw[: max(size, 0)].decode(errors="replace")

    def is_end(self, token: Row) -> bool:
        """Return whether a token ends the generation."""
        return bool(_c.llama_vocab_is_eog(self._vocab, token))

    def chat(self, text: str) -> str:
        """Return `text` as a user's turn in the model's own chat template, ready for the answer."""
        template = _c.llama_model_chat_template(self._model, None)
        if not template:
            raise HookrunError("the model carries no chat template; leave out --chat")
        message = _c.llama_chat_message(b"user", text.encode())
        room = 2 * len(text.encode()) + 4096
        buffer = ctypes.create_string_buffer(room)
        size = _c.llama_chat_apply_template(template, ctypes.pointer(message), 1, True, buffer, room)
        if not 0 <= size <= room:
            raise HookrunError("the engine does not know the model's chat template; write the prompt in full, without --chat")
        return buffer.raw[:size].decode()

    def context(self, settings: ContextSettings, node_callback: tuple[int, int] | None = None) -> Context:
        """Return a new context; `node_callback` is (address, user data) of an evaluation callback, fixed for its life."""
        parameters = _c.llama_context_default_params()
        parameters.n_ctx = settings.tokens * settings.sequences
        parameters.n_seq_max = settings.sequences
        parameters.n_batch = parameters.n_ubatch = min(settings.batch, settings.tokens * settings.sequences)
        parameters.n_threads = parameters.n_threads_batch = settings.threads
        parameters.type_k, parameters.type_v = CACHE_TYPES[settings.cache_type_k], CACHE_TYPES[settings.cache_type_v]
        parameters.flash_attn_type = FLASH_ATTENTION[settings.flash_attn]
        parameters.no_perf = True
        if node_callback is not None:
            address, data = node_callback
            parameters.cb_eval = _c.ggml_backend_sched_eval_callback(address)
            parameters.cb_eval_user_data = data
        handle = _c.llama_init_from_model(self._model, parameters)
        if not handle:
            raise HookrunError(f"the engine refuses a context of {settings.tokens} tokens: {self._log.reason()}")
        if settings.sequences == 1:
            return Context(handle, self.vocabulary, self._log)
        from .side_by_side import SideBySide

        return SideBySide(handle, self.vocabulary, self._log, settings.sequences, parameters.n_batch)

    def graph(self, settings: ContextSettings, tokens: int) -> list[Node]:
        """Return the nodes of the graph that computes `tokens` tokens, in the order of computation, by computing it once."""
        nodes: list[Node] = []
        library = _graph_library()

        def note(tensor: int, ask: bool, _data: object) -> bool:
            if ask:
                nodes.append(Node(library.ggml_get_name(tensor).decode(), library.ggml_op_desc(tensor).decode()))
            return False

        callback = _c.ggml_backend_sched_eval_callback(note)
        context = self.context(settings, (_address(callback), 0))
        try:
            context.decode([0] * tokens)
        finally:
            context.close()
        return nodes

    def close(self) -> None:
        """Free the model; its contexts must be closed before."""
        _c.llama_model_free(self._model)


class Context:
    """One sequence of tokens and what the model remembers of it. Not for use by two threads."""

    sequences = 1

    def __init__(self, handle: Any, vocabulary: int, log: EngineLog) -> None:
        self._handle, self._vocabulary, self._log = handle, vocabulary, log
        self._memory = _c.llama_get_memory(handle)
        self._token = (_c.llama_token * 1)()
        self._single = _c.llama_batch_get_one(self._token, 1)
        self._op_callback: Any = None
        self._op: tuple[int, int] | None = None
        self._holding_op: tuple[int, int] | None = None
        self._holding = False

    def decode(self, tokens: Sequence[Row]) -> int:
        """Put up to a batch of tokens behind those already seen and return how many; the last one's logits stay for `greedy`."""
        array = (_c.llama_token * len(tokens))(*tokens)
        self._compute(_c.llama_batch_get_one(array, len(tokens)))
        return len(tokens)

    def decode_one(self, token: Row, brief: bool = False) -> None:
        """The same for one token, without allocating; a `brief` computation may keep the GIL, where that is cheaper."""
        self._token[0] = token
        self._compute(self._single, holding=brief and self._holding_op is not None)

    def greedy(self) -> Row:
        """Return the likeliest next token, the end mark like any other."""
        return self._likeliest(-1)

    def forget(self, position: int = 0) -> None:
        """Drop all tokens from `position` on."""
        _c.llama_memory_seq_rm(self._memory, 0, position, -1)

    def set_op_callback(self, callback: tuple[int, int] | None, holding: tuple[int, int] | None = None) -> None:
        """Have (address, user data) called after each operation, or nothing.

        `holding` is one for a caller that keeps the GIL; where it is given, brief computations are made so.
        """
        self._op, self._holding_op = callback, holding
        self._listen(holding=False)

    def close(self) -> None:
        """Free the context."""
        _c.llama_free(self._handle)

    def _likeliest(self, place: int) -> int:
        """Return the likeliest token behind the one at a place of the last batch."""
        pointer = _c.llama_get_logits_ith(self._handle, place)
        return int(numpy.ctypeslib.as_array(pointer, (self._vocabulary,)).argmax())

    def _listen(self, *, holding: bool) -> None:
        address, data = (self._holding_op if holding else self._op) or (0, 0)
        self._op_callback = _c.ggml_abort_callback(address) if address else _c.ggml_abort_callback()
        _c.llama_set_abort_callback(self._handle, self._op_callback, data)
        self._holding = holding

    def _compute(self, batch: Any, *, holding: bool = False) -> None:
        if holding is not self._holding:
            self._listen(holding=holding)
        status = (_decode_holding if holding else _c.llama_decode)(self._handle, batch)
        if status == _ABORTED:
            raise Stopped
        if status:
            raise HookrunError(f"the engine failed to compute (status {status}): {self._log.reason()}")


def _give_log_back(address: int) -> None:
    """Let the binding's own logger have the engine's lines, unless someone else has taken them from `address` already."""
    current, data = _c.llama_log_callback(), ctypes.c_void_p()
    _c.llama_log_get(ctypes.byref(current), ctypes.byref(data))
    if _address(current) == address:
        _c.llama_log_set(llama_cpp._logger.llama_log_callback, None)


def _address(callback: Any) -> int:
    return ctypes.cast(callback, ctypes.c_void_p).value or 0


def _placement(devices: dict[int, str], remote: Sequence[RemoteDevice]) -> tuple[str, ...]:
    endpoints = {device.name: device.endpoint for device in remote}
    return tuple(endpoints.get(devices[layer], "local") for layer in sorted(devices))


def _graph_library() -> Any:
    """Return the functions that read a node; the binding does not declare them, but its library brings them along."""
    library = _c._lib
    for name in ("ggml_get_name", "ggml_op_desc"):
        function = getattr(library, name)
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    return library
