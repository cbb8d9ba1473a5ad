"""A meter that is unplugged and comes back under another name: found again, its clock, counts and energy kept."""

import asyncio
import os
import pty
import signal
import socket
import threading
import time
import tty
from pathlib import Path
from types import SimpleNamespace

import pytest

from epi_protocol import frame
from epid.daemon import link
from epid.daemon.link import BOARD_VENDOR_ID, Address
from epid.daemon.service import Service, Settings
from fakes import board

BOARD_ID = board.description()["board_id"]


class PtyBoard:
    """A board that keeps counting while it is unplugged, as one with a supply of its own does; every plug is a new device.

    Its names are links of its own, as under /dev/serial: the kernel gives the number of a closed terminal to whoever opens the
    next one, and the daemon would find a stranger there.
    """

    def __init__(self, folder):
        self.path, self._master, self._slave = "", -1, -1
        self._folder, self._plugs, self._lock = folder, 0, threading.Lock()
        self._seq, self._boot_id, self._stop = 0, board.BOOT, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plug(self):
        self.unplug()
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._plugs += 1
        name = self._folder / f"ttyACM{self._plugs}"
        name.symlink_to(os.ttyname(slave))
        with self._lock:
            self._master, self._slave, self.path = master, slave, str(name)

    def unplug(self):
        with self._lock:
            if self.path:
                Path(self.path).unlink()
            for descriptor in (self._master, self._slave):
                if descriptor >= 0:
                    os.close(descriptor)
            self._master = self._slave = -1
            self.path = ""

    def reboot(self):
        self._seq, self._boot_id = 0, b"\x09\x09\x09\x09"

    def comports(self):
        """What pyserial would list."""
        if not self.path:
            return []
        return [SimpleNamespace(device=self.path, vid=BOARD_VENDOR_ID, serial_number=BOARD_ID.upper())]

    def stop(self):
        self._stop.set()
        self._thread.join(5)
        self.unplug()

    def _run(self):
        while not self._stop.wait(0.02):
            payloads = [board.hello(self._boot_id)] if self._seq % 10 == 0 else []
            fields = {"boot_id": self._boot_id}
            payloads.append(board.sample(self._seq, self._seq * 50_000, [6.0] * 4, [self._seq * 0.36] * 4, **fields))
            self._seq += 1
            with self._lock:
                if self._master >= 0:
                    self._write(b"".join(frame.encode(payload) for payload in payloads))

    def _write(self, data):
        try:
            os.write(self._master, data)
        except OSError:
            return  # nobody reads: lost, as on a board


@pytest.fixture
def meter(monkeypatch, tmp_path):
    opened = PtyBoard(tmp_path)
    opened.plug()
    monkeypatch.setattr(link.list_ports, "comports", opened.comports)
    yield opened
    opened.stop()


def serve(tmp_path, addresses, script):
    """Run a daemon while the coroutine `script(service, said)` goes on; return what it has said."""
    said = []

    async def run():
        service = Service(Settings(addresses, "tcp://127.0.0.1:*", tmp_path, {}, False, False), said.append)
        running = asyncio.create_task(service.run(lambda: None))
        try:
            await asyncio.wait_for(script(service, said), 120)
        finally:
            signal.raise_signal(signal.SIGTERM)
            await running

    asyncio.run(run())
    return said


async def until(condition):
    while not condition():
        await asyncio.sleep(0.02)


def only(service):
    (address,) = service.meters.boards
    return address, service.meters.boards[address]


@pytest.mark.parametrize("named", [False, True], ids=["watching-usb", "port-named"])
def test_the_same_board_is_found_under_its_new_name(tmp_path, meter, named):
    first = meter.path

    async def script(service, said):
        await until(lambda: any(session.samples > 20 for session in service.meters.boards.values()))
        before = only(service)[1].samples
        meter.unplug()
        await until(lambda: any(f"the meter on {first} is gone" in text for text in said))
        await asyncio.sleep(0.3)
        meter.plug()
        assert meter.path != first
        await until(lambda: any(session.samples > before + 20 for session in service.meters.boards.values()))
        address, session = only(service)
        assert address == meter.path and service.meters.links[meter.path] == "up"
        assert session.board_id == BOARD_ID and session.boots == 1
        assert session.lost > 10, "what was sent while it was away is counted as lost"
        assert session.samples + session.lost == session.last_sample.head["seq"] + 1 - first_seq(session)
        [described] = service.status()["boards"]
        assert described["address"] == meter.path and described["lost_frames"] == session.lost

    said = serve(tmp_path, (Address(path=first),) if named else (), script)
    assert f"meter {BOARD_ID} is back on {meter.path}" in said


def first_seq(session):
    """Number of the first sample the daemon heard."""
    return session.last_sample.head["seq"] + 1 - session.samples - session.lost


def test_a_board_that_lost_its_power_too_starts_a_new_boot(tmp_path, meter):
    async def script(service, _said):
        await until(lambda: any(session.samples > 5 for session in service.meters.boards.values()))
        meter.unplug()
        meter.reboot()
        await asyncio.sleep(0.2)
        meter.plug()
        await until(lambda: any(session.boots == 2 and session.samples > 10 for session in service.meters.boards.values()))
        assert only(service)[0] == meter.path

    serve(tmp_path, (), script)


def test_another_board_is_not_taken_for_it(tmp_path, meter, monkeypatch):
    first = meter.path
    other = [SimpleNamespace(device="/dev/null", vid=BOARD_VENDOR_ID, serial_number="0000000000000001")]

    async def script(service, said):
        await until(lambda: any(session.samples > 5 for session in service.meters.boards.values()))
        monkeypatch.setattr(link.list_ports, "comports", lambda: other)
        meter.unplug()
        await until(lambda: any("there is no serial port" in text for text in said))
        started = time.monotonic()
        while time.monotonic() < started + 1.5:
            assert list(service.meters.boards) == [first]
            await asyncio.sleep(0.05)

    said = serve(tmp_path, (Address(path=first),), script)
    assert said.count(f"there is no serial port {first}; plug the meter in, or name another port") == 1


def cancel_after(task, turns):
    if turns:
        asyncio.get_running_loop().call_soon(cancel_after, task, turns - 1)
    else:
        task.cancel()


@pytest.mark.parametrize("turns", range(8))
def test_a_link_that_is_told_to_stop_in_the_very_moment_that_bytes_come_stops(turns):
    async def follow(opened):
        while True:
            if await opened.readable(5):
                opened.read()

    async def run():
        listener = socket.create_server(("127.0.0.1", 0))
        opened = link.Link(Address(host="127.0.0.1", port=listener.getsockname()[1]))
        peer, _address = listener.accept()
        task = asyncio.create_task(follow(opened))
        await asyncio.sleep(0.05)
        peer.send(b"x")
        cancel_after(task, turns)  # of the loop: one of them falls between the bytes and the task that waits for them
        stopped, _running = await asyncio.wait({task}, timeout=3)
        task.cancel()
        for end in (peer, listener, opened):
            end.close()
        return bool(stopped)

    assert asyncio.run(run())
