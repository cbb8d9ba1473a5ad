"""The line to the host: commands in, frames out, and nothing that blocks longer than the line itself does.

One frame at a time is on its way. Behind it wait, in this order: the answer to a ping (its stamps age), HELLO, a log
sentence, and the oldest sample of the ring.
"""

import struct

from epi_protocol.checksum import CRC_BYTES
from epi_protocol.frame import FRAME_OVERHEAD, CommandDecoder, encode
from epi_protocol.messages import (
    PING,
    PONG,
    PONG_FIELDS,
    REPL,
    REPL_KEY,
    offset_of,
    pack_log,
    size_of,
)

from .framing import encode_into
from .registers import const

_STALL_US = const(1_000_000)
_LOGS = const(8)
_NOTHING, _PONG, _HELLO, _LOG, _SAMPLE = const(0), const(1), const(2), const(3), const(4)
_PONG_BYTES = size_of(PONG_FIELDS)
_NONCE, _RECV, _SEND = offset_of(PONG_FIELDS, "nonce"), offset_of(PONG_FIELDS, "recv_us"), offset_of(PONG_FIELDS, "send_us")


class Link:
    """Sends what waits and takes commands through `port`: see `serial_port.SerialPort` for its methods."""

    def __init__(self, port, ring, boot_id, hello, clock, ticks64):
        self.leave = False
        self.logged = False
        self.lost_logs = 0
        self._port = port
        self._ring = ring
        self._boot_id = boot_id
        self._clock = clock
        self._ticks64 = ticks64
        self._commands = CommandDecoder()
        self._hello = encode(hello)
        self._logs = []
        self._pong_payload = bytearray(_PONG_BYTES + CRC_BYTES)
        struct.pack_into("<B4s", self._pong_payload, 0, PONG, boot_id)
        self._pong = bytearray(_PONG_BYTES + FRAME_OVERHEAD)
        self._pong_due = self._hello_due = False
        self._what = _NOTHING
        self._frame = self._hello
        self._length = self._sent = 0
        self._moved_at = 0

    def say_hello(self):
        """Send HELLO as soon as the line is free."""
        self._hello_due = True

    def log(self, level, text):
        """Send a sentence for a person; level 0 note, 1 warning, 2 error. Of many at once the oldest are kept.

        This allocates, and `logged` says so until somebody has collected.
        """
        self.logged = True
        if len(self._logs) < _LOGS:
            self._logs.append(encode(pack_log(self._boot_id, level, text)))
        else:
            self.lost_logs += 1

    def idle(self):
        """True when nothing is on its way and nothing waits."""
        waits = self._pong_due or self._hello_due or len(self._logs) or len(self._ring)
        return self._what == _NOTHING and not waits

    def receive(self, timeout_ms):
        """Take all bytes that have come, waiting at most `timeout_ms` for the first."""
        port = self._port
        while port.readable(timeout_ms):
            timeout_ms = 0
            length = self._commands.feed(port.read_byte())
            if length > 0:
                self._obey(length)

    def send(self):
        """Send as much as the line takes now."""
        port = self._port
        while not self.idle():
            if not port.writable():
                self._check_stall()
                return
            if self._what == _NOTHING:
                self._choose()
            left = self._length - self._sent
            taken = port.write(self._frame, self._sent, left if left < port.chunk else port.chunk)
            if taken:
                self._sent += taken
                self._moved_at = self._clock.ticks_us()
                if self._sent == self._length:
                    self._finish()
            else:
                self._check_stall()
                return

    def _obey(self, length):
        command = self._commands.payload
        if command[0] == PING and length == 5:
            self._ticks64.update()
            self._ticks64.copy_into(self._pong_payload, _RECV)
            for i in range(4):
                self._pong_payload[_NONCE + i] = command[1 + i]
            self._pong_due = True
        elif command[0] == REPL and length == 5 and self._is_key(command):
            self.leave = True

    def _is_key(self, command):
        for i in range(4):
            if command[1 + i] != REPL_KEY[i]:
                return False
        return True

    def _choose(self):
        if self._pong_due:
            self._pong_due = False
            self._ticks64.update()
            self._ticks64.copy_into(self._pong_payload, _SEND)
            self._take(_PONG, self._pong, encode_into(self._pong_payload, _PONG_BYTES, self._pong))
        elif self._hello_due:
            self._hello_due = False
            self._take(_HELLO, self._hello, len(self._hello))
        elif self._logs:
            self._take(_LOG, self._logs[0], len(self._logs[0]))
        else:
            self._ring.hold()
            self._take(_SAMPLE, self._ring.oldest(), self._ring.oldest_length())

    def _take(self, what, frame, length):
        self._what = what
        self._frame = frame
        self._length = length
        self._sent = 0
        self._moved_at = self._clock.ticks_us()

    def _finish(self):
        if self._what == _LOG:
            self._logs.pop(0)
        elif self._what == _SAMPLE:
            self._ring.pop()
        self._what = _NOTHING

    def _check_stall(self):
        """After a second without progress the other end is gone, and with it perhaps the frame's head: begin it anew."""
        if self._sent and self._clock.ticks_diff(self._clock.ticks_us(), self._moved_at) > _STALL_US:
            self._sent = 0
