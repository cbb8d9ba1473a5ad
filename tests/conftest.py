"""The tests run the commands of the environment they are started from, whether or not that is the one on the PATH."""

import os
import signal
import sys
from pathlib import Path

import pytest

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: none could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_PSEUDO_TERMINALS = ("RunningSim", "openpty", "port_link", "port-link")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file's tests on one worker, and all files with pseudo-terminals on the same one.

    The kernel gives the number of a closed terminal to the next one opened: a meter that was killed leaves a link behind that
    would then lead to another worker's meter.
    """
    groups: dict[Path, str] = {}
    for item in items:
        if item.path not in groups:
            groups[item.path] = _group(item.path)
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))


def _group(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    return "terminals" if any(word in text for word in _PSEUDO_TERMINALS) else str(file)
