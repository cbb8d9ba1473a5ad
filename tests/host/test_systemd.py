"""The service manager hears when the daemon is ready, and that it lives, and nobody is bothered where there is none."""

import asyncio
import os
import socket
import subprocess

from epid.daemon.systemd import Notifier
from fakes.epid_serve import EPID, PATIENCE_S


def listener(path):
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind(str(path))
    line.settimeout(PATIENCE_S)
    return line


def test_a_real_daemon_says_ready_and_goes_on_living(tmp_path):
    with listener(tmp_path / "notify") as line:
        told = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        command = [EPID, "serve", "--listen", "tcp://127.0.0.1:*", "--no-announce"]
        process = subprocess.Popen([*command, "--runs", tmp_path / "runs"], env=told, stderr=subprocess.DEVNULL)
        heard = [line.recv(100) for _ in range(4)]
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert sorted(set(heard)) == [b"READY=1", b"WATCHDOG=1"] and heard.count(b"READY=1") == 1


def test_the_watchdog_of_another_process_is_not_ours():
    assert Notifier({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).period_s == 0
    assert Notifier({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000"}).period_s == 0.5


def test_without_a_service_manager_nothing_happens():
    lonely = Notifier({})
    lonely.ready()
    asyncio.run(lonely.keep_alive())
