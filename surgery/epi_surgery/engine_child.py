"""Run models through llama.cpp in a process of its own: an assertion inside the engine ends this process, not the caller.

Read a job as JSON on stdin, write for each model, in order, two .npy arrays on stdout: the tokens fed (int32) and the
logits after each of them (float32, tokens x vocabulary). The first model tokenises the prompt and decodes greedily; the
others are fed the same tokens, so that position by position all see the same input.
"""

import ctypes
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_GGML_LOG_WARN = 3
Logits = npt.NDArray[np.float32]


class EngineError(Exception):
    """llama.cpp refused a model or a batch."""


@dataclass(frozen=True)
class Job:
    """`forced` tokens are fed as they are; without them `text` is tokenised, cut or filled to `n_prompt`, and continued."""

    models: tuple[str, ...]
    text: str
    n_prompt: int
    n_decode: int
    n_threads: int


def main() -> None:
    """Entry point of the child process."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever C code prints must not land between the arrays
    body = json.load(sys.stdin)
    job = Job(tuple(body["models"]), body["text"], body["n_prompt"], body["n_decode"], body["n_threads"])
    try:
        _run(job, out)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)


def _run(job: Job, out: BinaryIO) -> None:
    import llama_cpp

    callback = quiet_log(llama_cpp)
    llama_cpp.llama_backend_init()
    tokens: list[int] = []
    for model in job.models:
        with _session(llama_cpp, model, job) as session:
            prompt = tokens[: job.n_prompt] or _prompt(llama_cpp, session, job)
            tokens, logits = _feed(llama_cpp, session, prompt, tokens[job.n_prompt :], job)
        _send(out, np.array(tokens, dtype=np.int32))
        _send(out, logits)
    del callback  # llama.cpp held a bare pointer to it until here


def _send(out: BinaryIO, array: npt.NDArray[Any]) -> None:
    buffer = io.BytesIO()  # numpy asks a real file for its position, which a pipe does not have
    np.save(buffer, array)
    out.write(buffer.getbuffer())
    out.flush()


@dataclass(frozen=True)
class _Session:
    context: Any
    vocab: Any
    n_vocab: int


@contextmanager
def _session(lib: Any, path: str, job: Job) -> Iterator[_Session]:
    model_params = lib.llama_model_default_params()
    model_params.n_gpu_layers = 0
    # Weights repacked for one CPU's matrix units round by shape and can crash where a virtual machine hides the units' state;
    # the plain kernels sum each block the same way everywhere, which is what a comparison needs.
    model_params.use_extra_bufts = False
    model = lib.llama_model_load_from_file(path.encode(), model_params)
    if not model:
        raise EngineError("llama.cpp cannot load the model")
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(64, job.n_prompt + job.n_decode)
    params.n_threads = params.n_threads_batch = job.n_threads
    # Half precision in the cache or in fused attention blows a rounding of 1e-7 up to 1e-3 where it tips a value over.
    params.type_k = params.type_v = lib.GGML_TYPE_F32
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = lib.llama_init_from_model(model, params)
    if not context:
        lib.llama_model_free(model)
        raise EngineError("llama.cpp cannot make a context for the model")
    try:
        vocab = lib.llama_model_get_vocab(model)
        yield _Session(context, vocab, lib.llama_vocab_n_tokens(vocab))
    finally:
        lib.llama_free(context)
        lib.llama_model_free(model)


def _prompt(lib: Any, session: _Session, job: Job) -> list[int]:
    text = job.text.encode()
    buffer = (ctypes.c_int32 * (len(text) + 8))()
    count = max(0, lib.llama_tokenize(session.vocab, text, len(text), buffer, len(buffer), True, False))
    # A tokenizer that knows few of the words gives few tokens; the rest are spread over the vocabulary.
    spread = [(7919 * i) % session.n_vocab for i in range(1, job.n_prompt + 1)]
    return [*buffer[:count], *spread][: job.n_prompt]


def _feed(lib: Any, session: _Session, prompt: list[int], forced: list[int], job: Job) -> tuple[list[int], Logits]:
    tokens, rows = list(prompt), [_decode(lib, session, prompt, 0)]
    for step in range(job.n_decode):
        tokens.append(forced[step] if forced else int(rows[-1][-1].argmax()))
        rows.append(_decode(lib, session, tokens[-1:], len(tokens) - 1))
    return tokens, np.concatenate(rows)


def _decode(lib: Any, session: _Session, tokens: list[int], position: int) -> Logits:
    batch = lib.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position + i, True
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        status = lib.llama_decode(session.context, batch)
        if status:
            raise EngineError(f"llama.cpp could not decode a batch of {len(tokens)} tokens (status {status})")
        rows = [
            np.ctypeslib.as_array(lib.llama_get_logits_ith(session.context, i), (session.n_vocab,)) for i in range(len(tokens))
        ]
        return np.stack(rows).astype(np.float32)
    finally:
        lib.llama_batch_free(batch)


def quiet_log(lib: Any) -> Any:
    """Pass only warnings and errors on to stderr; returns the callback, which must stay referenced."""

    @lib.llama_log_callback  # type: ignore[untyped-decorator]
    def log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
        if level >= _GGML_LOG_WARN:
            sys.stderr.write(text.decode("utf-8", errors="replace"))
            sys.stderr.flush()

    lib.llama_log_set(log, ctypes.c_void_p(0))
    return log


if __name__ == "__main__":
    main()
