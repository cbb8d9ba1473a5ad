"""Several sequences in one llama_batch: the same text side by side, as a server computes the requests of several users.

Loaded with the engine only, like all that holds its structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .engine import Context, EngineLog, library


class SideBySide(Context):
    """`sequences` sequences with the same tokens, each with a memory of its own; all go on with what the first one predicts."""

    def __init__(self, handle: Any, vocabulary: int, log: EngineLog, sequences: int, batch: int) -> None:
        """`batch` is the most tokens in one computation, over all sequences."""
        super().__init__(handle, vocabulary, log)
        self.sequences = sequences
        self._batch = library.llama_batch_init(batch, 0, 1)
        self._position = 0

    def decode(self, tokens: Sequence[int]) -> None:
        """Put the same tokens behind those of each sequence; the last one's logits stay for `greedy`."""
        batch, at, last = self._batch, 0, len(tokens) - 1
        for sequence in range(self.sequences):
            for offset, token in enumerate(tokens):
                batch.token[at] = token
                batch.pos[at] = self._position + offset
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = sequence
                batch.logits[at] = offset == last
                at += 1
        batch.n_tokens = at
        self._compute(batch)
        self._position += len(tokens)

    def decode_one(self, token: int) -> None:
        """The same for one token in each sequence."""
        self.decode((token,))

    def forget(self, position: int = 0) -> None:
        """Drop all tokens from `position` on, in each sequence."""
        for sequence in range(self.sequences):
            library.llama_memory_seq_rm(self._memory, sequence, position, -1)
        self._position = position

    def close(self) -> None:
        """Free batch and context."""
        library.llama_batch_free(self._batch)
        super().close()
