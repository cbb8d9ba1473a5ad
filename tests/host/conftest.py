"""A meter on TCP, and a daemon that listens to it; both end with the test, whatever came of it."""

import sys
from pathlib import Path

import pytest

from fakes.epid_serve import Daemon
from fakes.tcp_board import TcpBoard

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))  # short runs of the benches are tests


@pytest.fixture
def meter():
    opened = TcpBoard(lambda t: 6.0)
    yield opened
    opened.stop()


@pytest.fixture
def daemon(tmp_path, meter):
    started = Daemon(tmp_path / "runs", "--tcp", f"127.0.0.1:{meter.port}", "--channel", "pi0=0")
    started.wait_line("meter e660123456789abc (simulated)")
    yield started
    started.stop()
