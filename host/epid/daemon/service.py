"""`epid serve`: one task group that keeps the meters connected, answers the nodes, and closes runs in time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..clocks import host_now_ns
from ..errors import EpidError, RunFileError
from .announce import Announcement
from .disk import Disk
from .disk_guard import DiskGuard
from .hub import Hub
from .keyring import KeyRing
from .lag_watch import LagWatch
from .link import Address
from .meters import Meters
from .metrics_server import MetricsServer
from .open_run import Closed
from .recorder import Recorder
from .sleep import SleepWatch
from .status import daemon_status
from .systemd import Notifier
from .windows import Windows

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
        ring = None if settings.keys is None else KeyRing(settings.keys)
        windows = Windows(lambda: self.meters.boards.values(), settings.channels)
        self.meters = Meters(self.recorder, windows, settings.wait, say)
        self.hub = Hub(self.recorder, settings.endpoint, self.status, say, windows, ring)
        self.metrics: MetricsServer | None = None
        if settings.metrics:
            self.metrics = MetricsServer(settings.metrics, settings.metrics_token, settings.folder, self.status)
        self._lags = LagWatch(settings.folder)
        self._sleep = SleepWatch()
        self._notifier = Notifier(os.environ)
        self._started_ns = host_now_ns()

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
        return daemon_status(self.hub, self.recorder, self.meters.status(), self._lags, self._started_ns)

    async def _run_tasks(self, stop: asyncio.Event, ready: Callable[[], None], announcement: Announcement | None) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(job) for job in self._jobs(group, announcement)]
                ready()
                self._notifier.ready()
                await stop.wait()
                self.say("stopping")
                for task in tasks:
                    task.cancel()
                self.meters.cancel()
        except* EpidError as failures:
            first = failures.exceptions[0]
        else:
            return
        raise first

    def _jobs(self, group: asyncio.TaskGroup, announcement: Announcement | None) -> list[Coroutine[Any, Any, None]]:
        jobs = [self.hub.serve(), self._tick(), self._each_second(), self._notifier.keep_alive()]
        if announcement is not None:
            jobs.append(announcement.register(self.say))
        if self.metrics is not None:
            jobs.append(self.metrics.run(self.say))
        return jobs + self.meters.jobs(self.settings.addresses, group)

    async def _shut_down(self, announcement: Announcement | None) -> None:
        for run in list(self.recorder.runs.values()):
            await self._tell_closed(self.recorder.close(run, "aborted: epid was stopped"))
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
            await self._make_durable()
            self._notice_sleep()

    async def _make_durable(self) -> None:
        """What was flushed reaches the disk itself, in a thread: a card may take its time."""
        for writer, failed in self.recorder.open_files():
            try:
                await asyncio.to_thread(writer.sync)
            except RunFileError as error:
                failed(error)

    def _notice_sleep(self) -> None:
        slept_s = self._sleep.slept_s()
        if slept_s:
            text = f"this computer slept for {slept_s:.1f} s: what the meters and nodes did meanwhile stands in no clock"
            self.say(text)
            self.recorder.note(1, text, host_now_ns())
            for pinger in [session.pinger for session in self.meters.boards.values()] + self.hub.pingers():
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
