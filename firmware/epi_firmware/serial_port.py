"""The board's serial line: the interpreter's own stdin and stdout, as bytes. MicroPython only."""

import select
import sys


class SerialPort:
    """Five methods that `Link` needs; none allocates.

    readable(timeout_ms) and writable() say whether a read or a write would do something; read_byte() returns one byte;
    write(buf, start, n) returns how many of buf[start:start+n] the line took; n is at most `chunk`.
    """

    chunk = 64  # one USB packet: what the line says it can take, it takes without blocking

    def __init__(self):
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer
        self._byte = bytearray(1)
        self._readable = select.poll()
        self._readable.register(sys.stdin, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)

    def readable(self, timeout_ms):
        for _ready in self._readable.ipoll(timeout_ms):
            return True
        return False

    def read_byte(self):
        # One byte at a time: on rp2 readinto blocks until the whole buffer is full.
        if not self._in.readinto(self._byte):
            raise OSError("the serial line is closed")
        return self._byte[0]

    def writable(self):
        for _ready in self._writable.ipoll(0):
            return True
        return False

    def write(self, buf, start, n):
        return self._out.write(buf, start, n) or 0
