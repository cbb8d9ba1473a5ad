"""The meter on a serial port: its frames while it measures, its files at the prompt, and its restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import serial

from epi_protocol import messages
from epi_protocol.errors import ProtocolError, VersionError
from epi_protocol.frame import FrameDecoder
from epi_tools.board import Board, BoardError, connect, find_ports
from epi_tools.board.ports import open_port
from epi_tools.calibrate.bench import SURVEY, check_complaints, parse_survey
from epi_tools.calibrate.checks import NOTHING
from epi_tools.calibrate.config_file import CONFIG_FILE, BoardConfig
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.readings import Sweep, sweep_of

HELLO_S = 4.0
RESTART_S = 30.0
SILENCE_S = 3.0
CATCH_UP_S = 1.5
"""While nobody read, the board has kept ten seconds of sweeps; they come first, and at once."""

QUIET_S = 1.0
_READ_S = 0.05
_RETRY_S = 0.2


class BoardBench:
    """A board that measures. Opens `port`, waits for HELLO, and holds the port until `close`."""

    def __init__(self, port: str, board_id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.description: dict[str, Any] = {}
        self.logs: list[str] = []
        self._port, self._clock = port, clock
        self._boot_id, self._heard_at = b"", -QUIET_S
        self._line: serial.Serial | None = open_port(port, _READ_S)
        self._decoder = FrameDecoder()
        try:
            self._await_hello(board_id)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BoardBench:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port; the board measures on."""
        if self._line:
            self._line.close()
            self._line = None

    def sweeps(self) -> Iterator[Sweep]:
        """Sweeps from now on. Raises CalibrationError when the board restarts or falls silent, BoardError when it is gone."""
        began = heard = self._clock()
        while self._clock() - heard < SILENCE_S:
            for sweep in self._receive():
                heard = self._clock()
                if heard - began > CATCH_UP_S:
                    yield sweep
        raise CalibrationError(f"The board on {self._port} has stopped sending; nothing was stored.")

    def config(self) -> BoardConfig:
        """Read config.json at the prompt and restart the board; its chips count on meanwhile."""
        return self._at_prompt(_survey)

    def store(self, text: str, checked: bool = True) -> BoardConfig:
        """Replace config.json in one step and restart; the old file stays where the firmware complains about the new one."""
        return self._at_prompt(lambda board: _store(board, text, checked))

    def _at_prompt(self, work: Callable[[Board], BoardConfig]) -> BoardConfig:
        """Leave the program, do `work`, and start the program again whatever came of it."""
        self.close()
        board = connect(self._port)
        try:
            return work(board)
        finally:
            board.reset()
            self._reopen()

    def _reopen(self) -> None:
        """Wait for the board's next boot, on the port that USB gives it now."""
        old_boot, board_id = self._boot_id, str(self.description.get("board_id", ""))
        self.logs = []
        deadline = self._clock() + RESTART_S
        while self._clock() < deadline:
            self._port = next((found.path for found in find_ports() if found.board_id == board_id), self._port)
            try:
                self._line, self._decoder = open_port(self._port, _READ_S), FrameDecoder()
                while self._clock() < deadline:
                    self._receive()
                    if self._boot_id != old_boot:
                        return
            except BoardError:
                self.close()
                time.sleep(_RETRY_S)  # its port is not there yet, or it has just gone
        raise CalibrationError(f"The board did not come back on {self._port} within {RESTART_S:.0f} s: unplug it and plug it in.")

    def _await_hello(self, board_id: str | None) -> None:
        deadline = self._clock() + HELLO_S
        while not self.description and self._clock() < deadline:
            self._receive()
        if not self.description:
            self.close()
            raise CalibrationError(_why_silent(self._port, self._clock() - self._heard_at < QUIET_S))
        found = str(self.description.get("board_id", ""))
        if board_id and board_id.lower() != found:
            raise CalibrationError(
                f"The board on {self._port} is {found}, not {board_id}: name the right port; nothing was stored."
            )

    def _receive(self) -> list[Sweep]:
        """Take what has come; HELLO and LOG are kept, sweeps of the running boot returned."""
        assert self._line is not None
        try:
            data = self._line.read(max(1, self._line.in_waiting))
        except (OSError, serial.SerialException) as error:
            raise BoardError(f"The board on {self._port} is gone: was it unplugged?") from error
        self._heard_at = self._clock() if data else self._heard_at
        sweeps = []
        for payload in self._decoder.feed(data):
            try:
                sweeps += self._message(payload)
            except VersionError as error:
                raise CalibrationError(f"The board on {self._port} cannot be calibrated: {error}.") from error
            except ProtocolError:
                continue  # a damaged frame; what follows is whole
        return sweeps

    def _message(self, payload: bytes) -> list[Sweep]:
        kind = payload[0]
        if kind == messages.HELLO:
            self._boot_id, self.description = messages.parse_hello(payload)
        elif kind == messages.LOG:
            self.logs.append(messages.parse_log(payload)[1])
        elif kind == messages.SAMPLE and self.description:
            return [sweep_of(payload, self.description["channels"])]
        return []


def _survey(board: Board) -> BoardConfig:
    text = board.read(CONFIG_FILE).decode(errors="replace") if board.exists(CONFIG_FILE) else ""
    return parse_survey(text, board.run(SURVEY.format(path=CONFIG_FILE), f"read its {CONFIG_FILE}"))


def _store(board: Board, text: str, checked: bool) -> BoardConfig:
    temporary, data = CONFIG_FILE + ".new", text.encode()
    before = _survey(board)
    board.write(temporary, data)
    board.check(temporary, data)
    after = parse_survey(text, board.run(SURVEY.format(path=temporary), f"read its {temporary}"))
    try:
        if checked:
            check_complaints(before, after)
    except CalibrationError:
        board.remove(temporary)
        raise
    board.rename(temporary, CONFIG_FILE)
    return after


def _why_silent(port: str, talks: bool) -> str:
    """Tell a board at its prompt, which waits in silence, from something else."""
    if talks:
        return f"What is on {port} talks, and not as a meter does: name the meter's port with --port; {NOTHING}."
    try:
        with connect(port):
            return (
                f"The board on {port} is at MicroPython's prompt and does not measure: start its firmware (unplug it and plug it "
                f"in, or `epi flash`); {NOTHING}."
            )
    except BoardError as error:
        return str(error)
