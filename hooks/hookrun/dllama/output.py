"""distributed-llama's standard output, read as it comes: records of batches, tokens and the summary. No I/O.

Formats (src/dllama.cpp of version 0.16, printf): one Eval line per batch of the prompt, one Pred record per token, whose piece
may itself hold line ends; then an empty line and two blocks of figures, `-nan` where nothing was counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_EVAL = re.compile(
    rb"^\xf0\x9f\x94\xb7\xef\xb8\x8f Eval\s*(\d+) ms Sync\s*(\d+) ms \| Sent\s*(\d+) kB Recv\s*(\d+) kB \| \((\d+) tokens\)$"
)
_PRED = re.compile(rb"^\xf0\x9f\x94\xb6 Pred\s*(\d+) ms Sync\s*(\d+) ms \| Sent\s*(\d+) kB Recv\s*(\d+) kB \| ", re.MULTILINE)
_PRED_MARK = b"\xf0\x9f\x94\xb6 Pred"
_SUMMARY = b"\nEvaluation\n   nBatches:"
_ERROR_MARK = "🚨".encode()
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of the prompt went through the model; milliseconds are cut off, not rounded."""

    eval_ms: int
    sync_ms: int
    sent_kb: int
    received_kb: int
    tokens: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Token:
    """A token was generated; `piece` is None where it has no text of its own (`~`)."""

    pred_ms: int
    sync_ms: int
    sent_kb: int
    received_kb: int
    piece: str | None
    at_ns: int


Record = Batch | Token


class OutputReader:
    """Feed it what was read and when; it returns the records that are whole. `prompt` is what the program will echo."""

    def __init__(self, prompt: str | None = None) -> None:
        self.errors: list[str] = []
        """What the program said behind 🚨."""
        self.finished = False
        """Whether the summary has begun."""
        self._echo = None if prompt is None else prompt.encode(errors="surrogateescape") + b"\n"
        self._buffer = b""
        self._token: tuple[re.Match[bytes], int] | None = None  # a Pred record whose piece may go on, and when it came

    def feed(self, data: bytes, at_ns: int) -> list[Record]:
        """Take output that was read at `at_ns`."""
        self._buffer += data
        records: list[Record] = []
        while (record := self._next(at_ns)) is not None:
            if not isinstance(record, bool):
                records.append(record)
        return records

    def close(self) -> list[Record]:
        """The output is over: return the last record, if it lacked only its end."""
        if self._token is None:
            return []
        return [self._finish(self._buffer.removesuffix(b"\n"))]

    def _next(self, at_ns: int) -> Record | bool | None:
        """Return the next record, True for something that is none, or None until there is more."""
        if self._token is not None:
            return self._piece()
        if self._skip_echo():
            return None
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            if len(line) > _LONGEST_LINE:
                self._buffer = b""
            return None
        pred = _PRED.match(self._buffer)
        if pred is not None:
            self._token, self._buffer = (pred, at_ns), self._buffer[pred.end() :]
            return True
        self._buffer = rest
        return self._line(line, at_ns)

    def _line(self, line: bytes, at_ns: int) -> Record | bool:
        batch = _EVAL.match(line)
        if batch is not None:
            eval_ms, sync_ms, sent_kb, received_kb, tokens = map(int, batch.groups())
            return Batch(eval_ms, sync_ms, sent_kb, received_kb, tokens, at_ns)
        if line.startswith(_ERROR_MARK):
            self.errors.append(line.removeprefix(_ERROR_MARK).decode(errors="replace").strip())
        return True

    def _skip_echo(self) -> bool:
        """Step over the echoed prompt, whatever it holds; True while it may still be on its way."""
        if self._echo is None or not self._buffer:
            return False
        if self._buffer.startswith(self._echo):
            self._buffer, self._echo = self._buffer[len(self._echo) :], None
            return False
        return self._echo.startswith(self._buffer)

    def _piece(self) -> Record | None:
        """The piece ends where the next record or the summary begins."""
        after = self._buffer.find(b"\n" + _PRED_MARK)
        summary = self._buffer.find(b"\n" + _SUMMARY)
        error = self._buffer.find(b"\n" + _ERROR_MARK)
        end = min((at for at in (after, summary, error) if at >= 0), default=-1)
        if end < 0:
            return None
        record = self._finish(self._buffer[:end])
        self._buffer = self._buffer[end + 1 :]
        self.finished = end == summary
        return record

    def _finish(self, piece: bytes) -> Token:
        assert self._token is not None
        match, at_ns = self._token
        self._token = None
        pred_ms, sync_ms, sent_kb, received_kb = map(int, match.groups())
        text = None if piece == b"~" else piece.decode(errors="replace")
        return Token(pred_ms, sync_ms, sent_kb, received_kb, text, at_ns)
