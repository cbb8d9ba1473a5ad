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
from epi_tools.board.ports import check_port, open_port, open_trouble

HELLO_S = 2.5  # a running firmware says HELLO every second
_LEAVE_S = 5.0
_LINE_S = 0.05
PROMPT_S = 2.0
_ANSWER_S = 10.0


class Repl:
    """An open port at the raw prompt. `hello` is what the program said that was left for it, None where none ran."""

    def __init__(self, port: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.port, self._clock = port, clock
        check_port(port)
        try:
            self._transport = SerialTransport(port, timeout=_LINE_S)
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
        deadline = self._clock() + HELLO_S
        with self._one_sentence():
            while not listener.hello and self._clock() < deadline:
                listener.listen()
            if listener.hello:
                self._transport.serial.write(encode_command(pack_repl()))
                said = self._transport.read_until(1, b">>> ", timeout=_LEAVE_S, timeout_overall=_LEAVE_S)
                if not said.endswith(b">>> "):
                    raise BoardError(
                        f"The firmware on {self.port} does not leave for the prompt: replug the board and try again."
                    )
        return listener.hello

    def _enter(self) -> None:
        self._transport.serial.timeout = PROMPT_S
        with self._one_sentence():
            try:
                self._transport.enter_raw_repl(soft_reset=False, timeout_overall=PROMPT_S)
            except TransportError as error:
                raise BoardError(
                    f"Nothing on {self.port} answers like a MicroPython: is it the board's port? "
                    "If so, unplug the board and plug it in again."
                ) from error
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
