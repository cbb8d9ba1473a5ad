"""A node's power as the CPU time that a process tree on this machine really uses: idle watts plus a share of full load."""

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from epi_tools.plant.process_tree import ProcessTree
from epi_tools.plant.source import Piece

FRESH_NS = 10_000_000
HISTORY = 4096


@dataclass(frozen=True)
class NodePower:
    """Watts of an idle node and of one with all `cores` busy; the default is near a Raspberry Pi 5."""

    idle_w: float = 3.5
    full_w: float = 11.0
    cores: float = float(os.cpu_count() or 1)

    def watts(self, busy_cores: float) -> float:
        return self.idle_w + (self.full_w - self.idle_w) * busy_cores / self.cores


class CpuLoad:
    """Live source. It looks at the tree whenever somebody asks about a moment more than 10 ms after the last look.

    pid: a number, or a file that holds one and is read again when it changes; a missing or empty file is an idle node.
    """

    def __init__(self, pid: int | Path, power: NodePower, clock: Callable[[], int]) -> None:
        self._pid, self._power, self._clock = pid, power, clock
        self._pid_file_state: tuple[int, int, int] | None = None
        self._tree = ProcessTree(pid) if isinstance(pid, int) else None
        self._ends_ns = [clock()]
        self._watts = [0.0]
        self.observe()

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[Piece]:
        if end_ns - self._ends_ns[-1] >= FRESH_NS:
            self.observe()
        end_ns = min(end_ns, self._ends_ns[-1])
        found: list[Piece] = []
        index = bisect_right(self._ends_ns, start_ns)
        while start_ns < end_ns:
            start_ns = min(self._ends_ns[index], end_ns)
            found.append((start_ns, self._watts[index]))
            index += 1
        return found

    def observe(self) -> None:
        """Read the CPU clocks; the watts since the last look become known."""
        self._follow_pid_file()
        used_ns = self._tree.cpu_ns_since() if self._tree else 0
        now_ns = self._clock()
        elapsed_ns = now_ns - self._ends_ns[-1]
        if elapsed_ns > 0:
            self._ends_ns.append(now_ns)
            self._watts.append(self._power.watts(used_ns / elapsed_ns))
        if len(self._ends_ns) > 2 * HISTORY:
            del self._ends_ns[:HISTORY], self._watts[:HISTORY]

    def _follow_pid_file(self) -> None:
        if isinstance(self._pid, int):
            return
        try:
            stat = self._pid.stat()
            state = stat.st_ino, stat.st_mtime_ns, stat.st_size
            if state != self._pid_file_state:
                text = self._pid.read_text().strip()
                self._tree = ProcessTree(int(text)) if text.isdecimal() else None
                self._pid_file_state = state
        except FileNotFoundError:
            self._tree = self._pid_file_state = None
