"""Has the faults happen to a simulated board while it runs."""

import heapq
import sys
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from epi_tools.chip import CutLine, LineFaults
from epi_tools.chip import registers as reg
from epi_tools.sim.board import Board
from epi_tools.sim.faults import KINDS, Fault

_CORRUPTED = {"cs1": reg.L_GAIN, "cs2": reg.U_GAIN}
_ONE_BIT = 0x0010


class Injector:
    """Looks at the clock twenty times a second. `happened` is for truth.json: kind, channels and host_ns of each fault."""

    def __init__(self, faults: Iterable[Fault], board: Board, clock: Callable[[], int], start_ns: int, seed: int) -> None:
        self._board, self._clock, self._start_ns, self._seed = board, clock, start_ns, seed
        self._numbers = count()
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self.happened: list[dict[str, Any]] = []
        for fault in faults:
            self._at(fault.at_s, lambda fault=fault: self._strike(fault))  # type: ignore[misc]

    def look(self) -> None:
        """Do what has fallen due."""
        while self._agenda and self._agenda[0][0] <= self._clock():
            heapq.heappop(self._agenda)[2]()

    def _at(self, at_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self._start_ns + round(at_s * 1e9), next(self._numbers), action))

    def _strike(self, fault: Fault) -> None:
        self.happened.append({"kind": fault.kind, "channels": list(fault.channels), "host_ns": self._clock()})
        kind = KINDS[fault.kind]
        whom = "" if kind.of_board else " on channel " + ", ".join(map(str, fault.channels))
        print(f"epi sim: fault at {fault.at_s:g} s{whom}: {kind.meaning}", file=sys.stderr, flush=True)
        if kind.of_board:
            self._strike_board(fault)
            return
        for channel in fault.channels:
            self._strike_chip(fault, channel)
            if fault.span_s is not None:
                self._at(fault.at_s + fault.span_s, lambda channel=channel: self._mend(fault, channel))  # type: ignore[misc]

    def _strike_board(self, fault: Fault) -> None:
        if fault.kind == "brown-out":
            for chip in self._board.chips:
                chip.brown_out()
        self._board.cut_power("its supply was cut" if fault.kind == "brown-out" else "its RUN pin was pulled low")

    def _strike_chip(self, fault: Fault, channel: int) -> None:
        chip, port = self._board.chips[channel], self._board.ports[channel]
        if fault.kind == "flips":
            port.faults = LineFaults(fault.rate, self._seed * 8 + channel)
        elif fault.kind == "deaf":
            port.faults = CutLine()
        elif fault.kind == "dead":
            chip.power_off()
        elif fault.kind == "reset":
            chip.brown_out()
        else:
            address = _CORRUPTED[fault.kind]
            chip.corrupt(address, chip.load(address) ^ _ONE_BIT)

    def _mend(self, fault: Fault, channel: int) -> None:
        if fault.kind == "dead":
            self._board.chips[channel].power_on()
        else:
            self._board.ports[channel].faults = None
