"""Several sequences in one llama_batch, as a server computes the requests of several users.

Loaded with the engine only, like all that holds its structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from .engine import Context, EngineLog, library
from .settings import Row


class SideBySide(Context):
    """`sequences` sequences, each with a memory of its own, and going on with what it predicts itself."""

    def __init__(self, handle: Any, vocabulary: int, log: EngineLog, sequences: int, batch: int) -> None:
        """`batch` is the most tokens in one computation, over all sequences."""
        super().__init__(handle, vocabulary, log)
        self.sequences = sequences
        self._batch = library.llama_batch_init(batch, 0, 1)
        self._positions = [0] * sequences
        self._newest = [0] * sequences  # where in the batch each sequence's last token stands

    def decode(self, tokens: Sequence[Row]) -> int:
        """Put rows behind those already seen; the logits of each sequence's last token stay for `greedy`."""
        at = 0
        for sequence in range(self.sequences):
            at = self._place(sequence, _of_sequence(tokens, sequence), at)
        self._batch.n_tokens = at
        self._compute(self._batch)
        return at

    def decode_one(self, token: Row, brief: bool = False) -> None:
        """The same for one row."""
        self.decode((token,))

    def greedy(self) -> Row:
        """Return the likeliest next token of each sequence."""
        return tuple(map(self._likeliest, self._newest))

    def forget(self, position: int = 0) -> None:
        """Drop all tokens from `position` on, in each sequence."""
        for sequence in range(self.sequences):
            library.llama_memory_seq_rm(self._memory, sequence, position, -1)
        self._positions = [min(position, reached) for reached in self._positions]

    def close(self) -> None:
        """Free batch and context."""
        library.llama_batch_free(self._batch)
        super().close()

    def _place(self, sequence: int, tokens: Sequence[int], at: int) -> int:
        """Write one sequence's tokens into the batch from `at` on and return where they end."""
        batch, first = self._batch, self._positions[sequence]
        for place, token in enumerate(tokens, at):
            batch.token[place] = token
            batch.pos[place] = first + place - at
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = sequence
            batch.logits[place] = False
        end = at + len(tokens)
        if tokens:
            batch.logits[end - 1] = True
            self._newest[sequence] = end - 1
        self._positions[sequence] = first + len(tokens)
        return end


def rows(prompts: Sequence[Sequence[int]]) -> tuple[Row, ...]:
    """Return prompts as rows, the longest for the first sequence. The shorter ones begin later, so that all end in the last row.

    The engine computes sequences together only if their numbers follow each other, hence the order.
    """
    longest_first = sorted(prompts, key=len, reverse=True)
    return tuple(zip_longest(*(reversed(prompt) for prompt in longest_first)))[::-1]


def _of_sequence(tokens: Sequence[Row], sequence: int) -> list[int]:
    found = (row if isinstance(row, int) else row[sequence] for row in tokens)
    return [token for token in found if token is not None]
