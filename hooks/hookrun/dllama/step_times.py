"""How long each operation of distributed-llama takes, over the tokens of a run: for a table, the wire knows only halves."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from operator import add, sub
from pathlib import Path

from epi_protocol.events import KIND_NAME

from ..errors import HookrunError
from .steps import StepPlan

HEADER = ("step", "kind", "layer", "operation", "mean_us", "tokens")


class StepTimes:
    """Adds up the stamps of decoded tokens; rows are in the order of computation."""

    def __init__(self, plan: StepPlan) -> None:
        self.tokens = 0
        self._plan = plan
        self._sums_ns = [0] * plan.steps

    def add(self, stamps_ns: array[int]) -> None:
        """Add one forward pass: one stamp before the first step, then two behind each, the first of which ends it."""
        self.tokens += 1
        self._sums_ns = list(map(add, self._sums_ns, map(sub, stamps_ns[1::2], stamps_ns[0:-1:2])))

    def rows(self) -> Iterator[tuple[int, str, int, int, float, int]]:
        """Yield (step, kind, layer, operation within that half, mean microseconds, tokens)."""
        begin = 0
        block = self._plan.block
        for end, kind, layer in zip(self._plan.ends, block.kinds, block.layers, strict=True):
            for step in range(begin, end + 1):
                mean_us = self._sums_ns[step] / self.tokens / 1000
                yield step, KIND_NAME[kind], layer, step - begin, round(mean_us, 3), self.tokens
            begin = end + 1

    def write(self, path: Path) -> None:
        """Write the table as CSV, whole or not at all; HookrunError where there is none or no room for it."""
        if not self.tokens:
            raise HookrunError(f"{path} is not written: no token of this run has stamps that are understood")
        part = path.with_name(path.name + ".part")
        try:
            with part.open("w", newline="") as file:
                table = csv.writer(file)
                table.writerow(HEADER)
                table.writerows(self.rows())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise HookrunError(f"cannot write {path}: {error.strerror or error}") from None
