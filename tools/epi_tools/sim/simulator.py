"""The loop of `epi sim`: SPI packets, serial bytes, and twenty times a second the books."""

import selectors
import socket
import sys
from collections.abc import Callable
from typing import Any

from epi_tools.plant import Ledger
from epi_tools.sim.board import WATCHDOG, Board
from epi_tools.sim.bridge import Bridge
from epi_tools.sim.host_port import HostPort
from epi_tools.sim.injector import Injector
from epi_tools.sim.truth import TruthFile

TICK_NS = 50_000_000
TRUTH_EVERY_NS = 1_000_000_000
REBOOT_NS = 250_000_000  # a board needs a moment too; and a firmware that dies at once must not fill the log


class Simulator:
    """Runs a board until a deadline. Nothing here waits for anybody but the next event."""

    def __init__(
        self,
        board: Board,
        port: HostPort,
        ledger: Ledger,
        truth: TruthFile | None,
        clock: Callable[[], int],
        on_tick: Callable[[], None] | None = None,
        injector: Injector | None = None,
    ) -> None:
        self._board, self._port, self._ledger, self._truth, self._clock = board, port, ledger, truth, clock
        self._on_tick, self._injector = on_tick, injector
        self._bridge = Bridge(board.console, port)
        self._selector = selectors.DefaultSelector()
        self._port_filenos: list[int] = []
        self._next_tick_ns = self._next_truth_ns = clock()
        self._boot_at_ns = 0
        self._connection: socket.socket | None = None

    def run(self, duration_s: float | None) -> None:
        """Serve until `duration_s` is over, for ever without one; always writes the final truth."""
        deadline_ns = self._clock() + round(duration_s * 1e9) if duration_s is not None else None
        self._selector.register(self._board.console, selectors.EVENT_READ, self._bridge.from_board)
        self._watch_tunnel()
        try:
            while deadline_ns is None or self._clock() < deadline_ns:
                self._turn()
        finally:
            self._ledger.close_books(self._clock())
            self._write_truth()
            self._selector.close()

    def counters(self) -> dict[str, Any]:
        """Figures about the run itself."""
        return {
            "spi": {"transactions": self._board.bus.transfers},
            "port": {"name": self._port.name, "bytes_sent": self._bridge.sent, "bytes_dropped": self._bridge.dropped},
            "boots": self._board.boots,
            "faults": self._injector.happened if self._injector else [],
        }

    def _turn(self) -> None:
        wait_s = max(0.0, (self._next_tick_ns - self._clock()) * 1e-9)
        for key, _ in self._selector.select(wait_s):
            key.data()
        now_ns = self._clock()
        if now_ns >= self._next_tick_ns:
            self._next_tick_ns = max(self._next_tick_ns + TICK_NS, now_ns)
            self._tick(now_ns)

    def _tick(self, now_ns: int) -> None:
        self._bridge.tend()
        self._watch_port()
        if self._on_tick:
            self._on_tick()
        self._ledger.close_books(now_ns)
        self._board.keep_up()
        if self._injector:
            self._injector.look()
        if now_ns >= self._next_truth_ns:
            self._next_truth_ns = now_ns + TRUTH_EVERY_NS
            self._write_truth()
        self._mind_board(now_ns)

    def _mind_board(self, now_ns: int) -> None:
        if self._boot_at_ns:
            if now_ns >= self._boot_at_ns:
                self._boot_at_ns = 0
                self._board.power_on(WATCHDOG)  # as rp2 calls every reset by software
                self._watch_tunnel()
            return
        reason = self._board.why_down()
        if reason:
            print(f"epi sim: the board reboots: {reason}", file=sys.stderr, flush=True)
            self._unwatch_tunnel()
            self._board.stop()
            self._bridge.forget()
            self._boot_at_ns = now_ns + REBOOT_NS

    def _watch_tunnel(self) -> None:
        self._connection = self._board.connection
        self._selector.register(self._connection, selectors.EVENT_READ, self._serve_tunnel)

    def _unwatch_tunnel(self) -> None:
        if self._connection:
            self._selector.unregister(self._connection)
            self._connection = None

    def _serve_tunnel(self) -> None:
        if not self._board.tunnel.serve():
            self._unwatch_tunnel()  # the interpreter is gone; `_mind_board` will see

    def _serve_port(self) -> None:
        self._bridge.from_host()
        if not (self._port.filenos() and self._bridge.takes_more):
            self._watch_port()

    def _watch_port(self) -> None:
        """The port's descriptors come and go with whoever opens it; none is watched while the board does not read."""
        for fileno in self._port_filenos:
            self._selector.unregister(fileno)
        self._port_filenos = self._port.filenos() if self._bridge.takes_more else []
        for fileno in self._port_filenos:
            self._selector.register(fileno, selectors.EVENT_READ, self._serve_port)

    def _write_truth(self) -> None:
        if self._truth:
            self._truth.keep(self.counters())
