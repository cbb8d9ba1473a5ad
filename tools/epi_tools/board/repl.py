"""The interpreter's prompt behind a serial port, through mpremote's transport; its trouble becomes one sentence."""

from __future__ import annotations

import contextlib
import io
import struct
import time
from collections.abc import Callable, Iterator

import serial
from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from epi_protocol.frame import encode_command
from epi_protocol.messages import pack_repl
from epi_tools.board.errors import BoardError, SnippetError
from epi_tools.board.hello import Hello, Listener
from epi_tools.board.ports import check_port, open_port, open_trouble, url_of

HELLO_S = 2.5  # a running firmware says HELLO every second
LATE_HELLO_S = 10.0  # where samples come, HELLO will
_LEAVE_S = 5.0
_LINE_S = 0.05
PROMPT_S = 4.0
_ANSWER_S = 10.0
_RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n"
_QUIET_S = 0.15
_LOOK_S = 0.01


class Repl:
    """An open port at the raw prompt. `hello` is what the program said that was left for it, None where none ran."""

    def __init__(self, port: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.port, self._clock = port, clock
        check_port(port)
        try:
            self._transport = SerialTransport(url_of(port), timeout=_LINE_S)
            self._transport.serial.write_timeout = 5
        except (TransportError, OSError, serial.SerialException) as error:
            open_port(port, _LINE_S).close()  # says why, which mpremote keeps to itself
            raise open_trouble(port, error) from error
        try:
            self.hello = self._leave_program()
            self._enter()
        except BaseException:
            self.close()
            raise

    def run(self, code: str, doing: str, timeout_s: float = _ANSWER_S) -> str:
        """Run `code` on the board and return what it printed. `doing` completes "The board could not …"."""
        with self._one_sentence():
            out, trouble = self._transport.exec_raw(code, timeout=timeout_s)
        if trouble:
            raise SnippetError(doing, trouble.decode(errors="replace"))
        return str(out.decode(errors="replace"))

    def start(self, code: str) -> None:
        """Run `code` that ends the connection, such as a reset."""
        with self._one_sentence():
            self._transport.exec_raw_no_follow(code)

    def close(self) -> None:
        """Leave the board at its friendly prompt, where it still is, and close the port."""
        with contextlib.suppress(OSError, serial.SerialException):  # an unplugged board cannot be spoken to any more
            if self._transport.in_raw_repl:
                self._transport.exit_raw_repl()
            self._transport.serial.close()

    def _leave_program(self) -> Hello | None:
        """Stop the firmware by the wire's REPL command, if one says HELLO."""
        listener = Listener(self.port, self._transport.serial)
        began = self._clock()
        with self._one_sentence():
            while not listener.hello and self._clock() - began < (LATE_HELLO_S if listener.is_meter else HELLO_S):
                listener.listen()
            if listener.hello:
                self._transport.serial.write(encode_command(pack_repl()))
                if not self._hears(b">>> ", _LEAVE_S):
                    raise BoardError(
                        f"The firmware on {self.port} does not leave for the prompt: replug the board and try again."
                    )
        return listener.hello

    def _hears(self, ending: bytes, timeout_s: float) -> bool:
        """Whether the line says `ending` in time, whatever else it says; nothing behind it is read."""
        line, said, deadline = self._transport.serial, b"", self._clock() + timeout_s
        while not said.endswith(ending) and self._clock() < deadline:
            said = (said + line.read(1))[-len(ending) :]
        return said.endswith(ending)

    def _hush(self) -> None:
        """Interrupt what runs and wait for silence."""
        line, deadline, heard_at = self._transport.serial, self._clock() + PROMPT_S, self._clock()
        line.write(b"\r\x03")
        while self._clock() - heard_at < _QUIET_S:
            if line.in_waiting:
                line.read(line.in_waiting)
                heard_at = self._clock()
            if self._clock() > deadline:
                raise BoardError(
                    f"What is on {self.port} talks without end and does not stop at Ctrl-C: is it the board's port? "
                    "If so, unplug the board and plug it in again."
                )
            time.sleep(_LOOK_S)

    def _enter(self) -> None:
        """To the raw prompt. Not by mpremote's own way, which reads an endless talker for ever."""
        with self._one_sentence():
            self._hush()
            self._transport.serial.write(b"\r\x01")
            if not self._hears(_RAW_PROMPT, PROMPT_S):
                raise BoardError(
                    f"Nothing on {self.port} answers like a MicroPython: is it the board's port? "
                    "If so, unplug the board and plug it in again."
                )
        self._transport.in_raw_repl = True
        self._transport.serial.timeout = _ANSWER_S

    @contextlib.contextmanager
    def _one_sentence(self) -> Iterator[None]:
        """Turn what mpremote and pyserial raise into a BoardError; mpremote also prints, which is for nobody."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except serial.SerialTimeoutException as error:
            raise BoardError(f"The board on {self.port} takes no bytes: unplug it and plug it in again.") from error
        except (OSError, serial.SerialException) as error:
            raise BoardError(f"The board on {self.port} is gone: plug it in again and repeat.") from error
        except (TransportError, struct.error) as error:
            raise BoardError(f"The board on {self.port} stopped answering at its prompt: unplug it and try again.") from error
