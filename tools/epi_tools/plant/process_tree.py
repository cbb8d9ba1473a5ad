"""CPU time of a process and all its descendants, to the nanosecond.

Each process is read through its CPU clock (`clock_getcpuclockid(3)`), not through /proc/*/schedstat: the clock counts the
time of threads that have ended, and includes the running slice, which schedstat learns only at the next scheduler tick.
The parents of new processes come from /proc/PID/task/*/children. Linux only.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path


class ProcessTree:
    """The tree below `root_pid`, this process and what it started left out."""

    def __init__(self, root_pid: int) -> None:
        self._root_pid = root_pid
        self._last_ns: dict[int, int] = {}
        self._seen = False

    def cpu_ns_since(self) -> int:
        """CPU time the tree used since the last call; the first call gives 0.

        A process that appears later counts from its birth. One that has ended keeps what was seen of it: at most the
        time between two calls is lost, never subtracted.
        """
        used_ns = 0
        current_ns: dict[int, int] = {}
        for pid in self._members():
            clock_ns = _process_clock_ns(pid)
            if clock_ns is not None:
                current_ns[pid] = clock_ns
                used_ns += max(0, clock_ns - self._last_ns.get(pid, 0))
        self._last_ns = current_ns
        first, self._seen = not self._seen, True
        return 0 if first else used_ns

    @property
    def alive(self) -> bool:
        """Whether anything of the tree was there at the last call."""
        return bool(self._last_ns)

    def _members(self) -> Iterator[int]:
        """The tree now, plus orphans: children whose parent ended but who were seen before."""
        waiting = [self._root_pid, *self._last_ns]
        visited = {os.getpid()}
        while waiting:
            pid = waiting.pop()
            if pid not in visited:
                visited.add(pid)
                waiting += _children(pid)
                yield pid


def _process_clock_ns(pid: int) -> int | None:
    """CPU time of one process with all its threads, None when it is gone."""
    clock_id = ~pid << 3 | 2  # as glibc's clock_getcpuclockid builds it: CPUCLOCK_SCHED
    try:
        return time.clock_gettime_ns(clock_id)
    except OSError:
        return None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names alone, many times a second
    except (FileNotFoundError, ProcessLookupError):
        return found
    for task in tasks:
        try:
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
