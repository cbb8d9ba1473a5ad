"""The meters that the daemon listens to: found, opened, followed until they go, found again under any name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from epi_protocol.frame import FrameDecoder

from ..clocks import host_now_ns
from ..errors import LinkError
from .board import BoardSession, Hello, Log, Sample
from .intake import Intake
from .link import Address, Link, find_boards, find_moved
from .recorder import Recorder
from .restarts import Restarts
from .status import board_status
from .windows import Windows
from .zmq_link import ZmqLink

RECONNECT_S = 0.5
HELLO_TIMEOUT_S = 6.0
_TICK_S = 0.02


class Meters:
    """Sessions and links of all meters by address. What they say goes to the recorder and to open windows.

    `wait`: whether a named meter may still be missing at the start. `say` prints one line for a person.
    """

    def __init__(self, recorder: Recorder, windows: Windows, wait: bool, say: Callable[[str], None]) -> None:
        self.boards: dict[str, BoardSession] = {}
        self.links: dict[str, str] = {}
        self._recorder, self._windows, self._wait, self._say = recorder, windows, wait, say
        self._intake = Intake(recorder, recorder.note)
        self._restarts: dict[str, Restarts] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def jobs(self, addresses: tuple[Address, ...], group: asyncio.TaskGroup) -> list[Coroutine[Any, Any, None]]:
        """What has to run: one job for each named meter, or one that looks for boards on USB."""
        return [self._keep_connected(address) for address in addresses] or [self._look_for_boards(group)]

    def cancel(self) -> None:
        """Let go of the boards that were found on USB."""
        for task in self._tasks:
            task.cancel()

    def status(self) -> list[dict[str, Any]]:
        """One map for each meter."""
        return [board_status(address, session, self.links.get(address, "")) for address, session in self.boards.items()]

    async def _look_for_boards(self, group: asyncio.TaskGroup) -> None:
        """Open every board that shows up on a USB port; one that leaves is looked for again under any name."""
        said = False
        away: dict[str, BoardSession] = {}
        while True:
            for address in find_boards():
                if str(address) not in self.boards:
                    session = self.boards[str(address)] = away.pop(address.usb_id, BoardSession())
                    self._tasks.append(group.create_task(self._follow_once(address, session, away)))
            if not self.boards and not said:
                self._say("no meter found yet; plug one in, or name one with --port, --tcp or --zmq")
                said = True
            await asyncio.sleep(RECONNECT_S)

    async def _follow_once(self, address: Address, session: BoardSession, away: dict[str, BoardSession]) -> None:
        try:
            await self._follow(address, session)
        except LinkError as error:
            self._lost(address, error)
        if session.known:
            away[session.board_id.lower()] = session
        await asyncio.sleep(RECONNECT_S)
        self.boards.pop(str(address), None)

    async def _keep_connected(self, address: Address) -> None:
        """Stay with one meter for ever: on its address, or under the name that USB has given it since.

        Until its first HELLO a failure ends the daemon, unless it was told to wait.
        """
        session = BoardSession()
        while True:
            try:
                await self._follow(address, session)
            except LinkError as error:
                if not session.known and not self._wait:
                    raise
                self._lost(address, error)
            await asyncio.sleep(RECONNECT_S)
            moved = find_moved(address, session.board_id)
            if moved is not None and str(moved) not in self.boards:
                self.boards.pop(str(address), None)
                address = moved

    def _lost(self, address: Address, error: LinkError) -> None:
        """Say once why a meter cannot be heard; the same reason again is no news."""
        if self.links.get(str(address)) != str(error):
            self._say(str(error))
            self._recorder.note(1, str(error), host_now_ns())
        self.links[str(address)] = str(error)

    async def _follow(self, address: Address, session: BoardSession) -> None:
        """Open a link and take what comes until it breaks."""
        link = ZmqLink(address) if address.zmq else Link(address)
        session.decoder = FrameDecoder()
        self.boards[str(address)] = session
        self.links.setdefault(str(address), "waiting for HELLO")
        opened_ns = host_now_ns()
        try:
            while True:
                if await link.readable(_TICK_S):
                    self._take(address, session, link.read(), host_now_ns())
                    self._notice_return(address, session)
                self._check_hello(address, session, opened_ns)
                command = session.command_due(host_now_ns())
                if command is not None:
                    link.write(command)
        finally:
            link.close()

    def _notice_return(self, address: Address, session: BoardSession) -> None:
        if session.known and session.decoder.frames and self.links[str(address)] != "up":
            self.links[str(address)] = "up"
            self._say(f"meter {session.board_id} is back on {address}")

    def _check_hello(self, address: Address, session: BoardSession, opened_ns: int) -> None:
        waited_s = (host_now_ns() - opened_ns) / 1e9
        if (session.known and session.decoder.frames) or waited_s < HELLO_TIMEOUT_S:
            return
        heard = session.decoder.garbage_bytes + session.decoder.frames
        what = "something that is no epi-meter talks" if heard else "nothing was heard"
        raise LinkError(
            f"{what} on {address} for {HELLO_TIMEOUT_S:.0f} s; is this the meter's port, and is its firmware flashed?"
        )

    def _take(self, address: Address, session: BoardSession, data: bytes, host_ns: int) -> None:
        for event in session.receive(data, host_ns):
            if isinstance(event, Sample):
                self._windows.sample(session, event)
            elif isinstance(event, Hello) and event.rebooted:
                self._greet(address, session, host_ns)
            elif isinstance(event, Log) and event.level:
                self._say(f"board {session.board_id or address}: {event.text}")
            self._intake.take(session, event, host_ns)

    def _greet(self, address: Address, session: BoardSession, host_ns: int) -> None:
        self.links[str(address)] = "up"
        seen = session.description
        simulated = " (simulated)" if seen.get("simulated") else ""
        usual = f"on {address}: firmware {seen.get('firmware')}, {seen.get('sample_hz')} Hz"
        unusual = self._restarts.setdefault(session.board_id, Restarts()).started(host_ns)
        if unusual:
            self._recorder.note(1, f"meter {session.board_id} {unusual}", host_ns)
        if unusual != "":
            self._say(f"meter {session.board_id}{simulated} {unusual or usual}")
