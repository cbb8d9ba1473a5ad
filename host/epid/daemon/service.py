"""`epid serve`: one task group that keeps the meters connected, answers the nodes, and closes runs in time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epi_protocol.frame import FrameDecoder

from ..clocks import host_now_ns
from ..errors import EpidError, LinkError
from .announce import Announcement
from .board import BoardSession, Hello, Log, Sample
from .disk import Disk
from .disk_guard import DiskGuard
from .hub import Hub
from .intake import Intake
from .keyring import KeyRing
from .link import Address, Link, find_boards, find_moved
from .metrics import MetricsServer
from .recorder import Closed, Recorder
from .restarts import Restarts
from .sleep import SleepWatch
from .status import board_status, daemon_status
from .systemd import Notifier
from .windows import Windows
from .zmq_link import ZmqLink

RECONNECT_S = 0.5
HELLO_TIMEOUT_S = 6.0
_TICK_S = 0.02
_FLUSH_EVERY_TICKS = 12


@dataclass(frozen=True, slots=True)
class Settings:
    """What `epid serve` was told. No `addresses` means: look for boards on the serial ports."""

    addresses: tuple[Address, ...]
    endpoint: str
    folder: Path
    channels: Mapping[str, str]
    announce: bool
    wait: bool
    metrics: str = ""
    metrics_token: str = ""
    keys: Path | None = None
    ambient_hours: float = 0.0
    reserve_bytes: int = 64 << 20


Say = Callable[[str], None]


class Service:
    """The running daemon; `say` prints one line for a person."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self.say = say
        self.recorder = Recorder(
            settings.folder, settings.channels, Disk(settings.folder, settings.reserve_bytes), settings.ambient_hours
        )
        self._guard = DiskGuard(self.recorder, say)
        self._intake = Intake(self.recorder, self.recorder.note)
        self._restarts: dict[str, Restarts] = {}
        ring = None if settings.keys is None else KeyRing(settings.keys)
        self.boards: dict[str, BoardSession] = {}
        self.windows = Windows(self.boards.values, settings.channels)
        self.hub = Hub(self.recorder, settings.endpoint, self.status, say, self.windows, ring)
        self.links: dict[str, str] = {}
        self.metrics: MetricsServer | None = None
        if settings.metrics:
            self.metrics = MetricsServer(settings.metrics, settings.metrics_token, settings.folder, self.status)
        self._sleep = SleepWatch()
        self._notifier = Notifier(os.environ)
        self._started_ns = host_now_ns()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGINT or SIGTERM; open runs are closed as aborted on the way out."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        announcement = Announcement(self.hub.endpoint) if self.settings.announce else None
        try:
            await self._run_tasks(stop, ready, announcement)
        finally:
            await self._shut_down(announcement)

    def status(self) -> dict[str, Any]:
        """What `epid status --json` prints."""
        boards = [board_status(address, session, self.links.get(address, "")) for address, session in self.boards.items()]
        return daemon_status(self.hub, self.recorder, boards, self._started_ns)

    async def _run_tasks(self, stop: asyncio.Event, ready: Callable[[], None], announcement: Announcement | None) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                jobs: list[Coroutine[Any, Any, None]] = [self.hub.serve(), self._tick(), self._each_second()]
                if announcement is not None:
                    jobs.append(announcement.register(self.say))
                if self.metrics is not None:
                    jobs.append(self.metrics.run(self.say))
                jobs += [self._keep_connected(address) for address in self.settings.addresses]
                if not self.settings.addresses:
                    jobs.append(self._look_for_boards(group))
                jobs.append(self._notifier.keep_alive())
                self._tasks = [group.create_task(job) for job in jobs]
                ready()
                self._notifier.ready()
                await stop.wait()
                self.say("stopping")
                for task in self._tasks:
                    task.cancel()
        except* EpidError as failures:
            first = failures.exceptions[0]
        else:
            return
        raise first

    async def _shut_down(self, announcement: Announcement | None) -> None:
        for run in list(self.recorder.runs.values()):
            await self.hub.tell_closed(self.recorder.close(run, "aborted: epid was stopped"))
        self.recorder.ambient.pause()
        if announcement is not None:
            await announcement.close()
        self.hub.close()

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_S)
            ticks += 1
            await self.hub.ping()
            await self.hub.answer_windows()
            if ticks % _FLUSH_EVERY_TICKS == 0:
                await self._flush()

    async def _each_second(self) -> None:
        """What takes its time: the disk, and clocks that were stopped."""
        while True:
            await asyncio.sleep(1)
            await self._tell_closed(self._guard.look(host_now_ns()))
            await asyncio.to_thread(self.recorder.sync)
            self._notice_sleep()

    def _notice_sleep(self) -> None:
        slept_s = self._sleep.slept_s()
        if slept_s:
            text = f"this computer slept for {slept_s:.1f} s: what the meters and nodes did meanwhile stands in no clock"
            self.say(text)
            self.recorder.note(1, text, host_now_ns())
            for pinger in [session.pinger for session in self.boards.values()] + self.hub.pingers():
                pinger.hurry()

    async def _flush(self) -> None:
        await self._tell_closed(self.recorder.due(host_now_ns()))

    async def _tell_closed(self, closed: list[Closed]) -> None:
        await self.hub.acknowledge()
        for done in closed:
            self.say(f"run {done.run.run[:8]} {done.status}: {done.run.writer.path}")
            await self.hub.tell_closed(done)
        failed, self.recorder.failed = self.recorder.failed, []
        for lost in failed:
            self.say(f"run {lost.run.run[:8]} was given up: {lost.status}")
            await self.hub.tell_failed(lost)

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
                self.say("no meter found yet; plug one in, or name one with --port, --tcp or --zmq")
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
                if not session.known and not self.settings.wait:
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
            self.say(str(error))
            self.recorder.note(1, str(error), host_now_ns())
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
            self.say(f"meter {session.board_id} is back on {address}")

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
                self.windows.sample(session, event)
            elif isinstance(event, Hello) and event.rebooted:
                self._greet(address, session, host_ns)
            elif isinstance(event, Log) and event.level:
                self.say(f"board {session.board_id or address}: {event.text}")
            self._intake.take(session, event, host_ns)

    def _greet(self, address: Address, session: BoardSession, host_ns: int) -> None:
        self.links[str(address)] = "up"
        seen = session.description
        simulated = " (simulated)" if seen.get("simulated") else ""
        usual = f"on {address}: firmware {seen.get('firmware')}, {seen.get('sample_hz')} Hz"
        unusual = self._restarts.setdefault(session.board_id, Restarts()).started(host_ns)
        if unusual:
            self.recorder.note(1, f"meter {session.board_id} {unusual}", host_ns)
        if unusual != "":
            self.say(f"meter {session.board_id}{simulated} {unusual or usual}")
