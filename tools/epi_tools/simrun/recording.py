"""One simulated run into one run file: board and node as the daemon hears them, by its own writer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from heapq import merge
from pathlib import Path

from epi_protocol import PROTOCOL_VERSION
from epi_tools.simrun.board import BOARD_ID
from epi_tools.simrun.layout import Message, Simulated, when
from epi_tools.simrun.node import NODE, node_messages
from epid import __version__
from epid.record.writer import RunWriter


def write_run(path: Path, simulated: Simulated, heard: Iterable[Message]) -> None:
    """Write what was `heard` of the board and what the node sends, whole or not at all.

    Raises RunFileError where the folder cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    writer = RunWriter(unfinished, _metadata(simulated), f"epi sim-run with epid {__version__}")
    try:
        for host_ns, topic, body in merge(heard, node_messages(simulated), key=when):
            writer.write(topic, host_ns, {"host_ns": host_ns, **body})
        writer.close({"status": "complete", "spans": str(len(simulated.spans)), "dropped": "0"})
        unfinished.replace(path)
    finally:
        writer.abandon()
        unfinished.unlink(missing_ok=True)


def _metadata(simulated: Simulated) -> dict[str, str]:
    return {
        "run": simulated.run,
        "label": simulated.label,
        "node": NODE,
        "channel": f"{BOARD_ID}:0",
        "utc": simulated.utc,
        "host_ns": str(simulated.begin_ns),
        "host": "simulated",
        "epid": __version__,
        "protocol": str(PROTOCOL_VERSION),
    }
