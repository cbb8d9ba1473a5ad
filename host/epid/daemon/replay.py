"""Feeds a recorded run through the daemon once more: frames into a board's session, batches into the recorder, at their times.

What stands in the record is what was received, so the new file holds the same samples, exchanges and spans, and everything that
is derived from it is the same to the last bit. Where it is not, the daemon has changed its mind about some bytes.
"""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path
from typing import Any

from epi_protocol import events, frame, messages
from epi_protocol.errors import ProtocolError

from ..errors import EpidError, RunFileError
from ..record.reader import RunFile, RunMessage
from ..record.topics import board_topic, split_topic
from .board import BoardSession
from .disk import Disk
from .intake import Intake
from .open_run import OpenRun
from .recorder import Recorder

_PONG = "<B4s4sQQ"


class Replay:
    """One run on its way into `folder`. `refused`: one sentence for each message that the daemon would not take today."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: list[str] = []
        self.path: Path | None = None
        self._recorder: Recorder | None = None
        self._boards: dict[str, BoardSession] = {}
        self._run: OpenRun | None = None
        self._last_ns = 0

    def feed(self, path: Path) -> Path:
        """Replay one run file, and return the new one; RunFileError where it cannot be read or written."""
        file = RunFile(path)
        for message in file.messages():
            self._last_ns = max(self._last_ns, message.host_ns)
            self._take(file, message)
        if self._run is None or self._recorder is None or self.path is None:
            raise RunFileError(f"{path} holds no begin of a run: there is nothing to replay")
        status = file.end.get("status", "aborted: the record ends here")
        if not self._recorder.close(self._run, status):
            raise RunFileError(self._recorder.failed[-1].status)
        return self.path

    def _take(self, file: RunFile, message: RunMessage) -> None:
        recorder = self._recorder = self._recorder or _recorder(self.folder, file.metadata)
        side, name, kind = split_topic(message.topic)
        body = {key: value for key, value in message.body.items() if key != "host_ns"}
        try:
            if side == "board":
                self._board(recorder, name, kind, body, message.host_ns)
            elif side == "node":
                self._node(recorder, file.metadata.get("node", name), kind, body, message.host_ns)
            elif side == "epid":
                recorder.note(int(body["level"]), str(body["text"]), message.host_ns)
        except (EpidError, ProtocolError, KeyError, TypeError, struct.error) as error:
            self.refused.append(f"{message.topic} at {message.host_ns}: {error}")

    def _board(self, recorder: Recorder, name: str, kind: str, body: dict[str, Any], host_ns: int) -> None:
        session = self._boards.setdefault(name, BoardSession())
        if kind == "log":
            recorder.board(board_topic(name, kind), host_ns, body)
            return
        payload = body["payload"] if kind != "clock" else _pong(session, body)
        intake = Intake(recorder, _stands_in_the_record)
        for event in session.receive(frame.encode(payload), host_ns):
            intake.take(session, event, host_ns)

    def _node(self, recorder: Recorder, node: str, kind: str, body: dict[str, Any], host_ns: int) -> None:
        if kind == "run" and body["kind"] == "run_begin":
            self._run = recorder.open(node, body["body"], host_ns)
            self.path = self._run.writer.path
        elif kind == "run" and self._run is not None:
            recorder.end(self._run, body["body"], host_ns, 0)
        elif kind == "spans":
            recorder.spans(node, events.span_batch(body["body"]), host_ns)
        else:
            recorder.node(node, kind, host_ns, body)


def _recorder(folder: Path, metadata: dict[str, str]) -> Recorder:
    """A recorder whose files bear the date and the channel of the run that is replayed."""
    channels = {metadata.get("node", ""): metadata.get("channel", "")}
    utc = datetime.fromisoformat(metadata.get("utc") or "1970-01-01T00:00:00+00:00")
    return Recorder(folder, channels, Disk(folder), utc_now=lambda: utc)


def _pong(session: BoardSession, body: dict[str, Any]) -> bytes:
    """The PONG of a recorded exchange; the session is told of its ping."""
    session.pinger.expect(body["nonce"], body["t1_ns"])
    return struct.pack(_PONG, messages.PONG, body["boot_id"], body["nonce"], body["t2_us"], body["t3_us"])


def _stands_in_the_record(_level: int, _text: str, _host_ns: int) -> None:
    """Notes are replayed as they were written; those that a session would make again are dropped."""
