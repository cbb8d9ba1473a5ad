"""Bytes in, payloads out: how a payload travels, in both directions. Board-clean.

Board to host:  00 | COBS(payload | CRC-32) | 00.  The zero on both sides ends whatever stood on the line before: REPL text, a
torn frame, a traceback. COBS: Cheshire and Baker 1999, "Consistent Overhead Byte Stuffing", IEEE/ACM ToN 7(2).

Host to board:  LF | two letters A..P for each byte of (payload | CRC-32) | LF.  Commands are few and short, so they can afford
an alphabet in which 0x03 does not exist: on a board whose program is not running yet, 0x03 is Ctrl-C and kills it.
"""

from .checksum import CRC_BYTES, crc32_bytes, put_crc32
from .errors import ProtocolError

MAX_PAYLOAD = 2560
"""Longest payload in bytes. A receiver holds no more than this of anything, whatever comes in."""

FIXED_PAYLOAD = 249
"""Up to this many payload bytes, a frame is always `payload + FRAME_OVERHEAD` long: one COBS block."""

FRAME_OVERHEAD = CRC_BYTES + 3
_MAX_COBS = MAX_PAYLOAD + CRC_BYTES + (MAX_PAYLOAD + CRC_BYTES) // 254 + 1
_MAX_GARBAGE = 4096
_LETTER_A = 0x41
_LF = 0x0A


def encode_into(payload, n, out):
    """Frame `payload[:n]` into `out`, allocating nothing; return the frame's length in bytes.

    `payload` needs CRC_BYTES of room behind `n`: the checksum is written there. `out` needs n + FRAME_OVERHEAD bytes, and one
    more for every 254 bytes of payload.
    """
    put_crc32(payload, n)
    out[0] = 0
    end = _cobs_encode_into(payload, n + CRC_BYTES, out, 1)
    out[end] = 0
    return end + 1


def encode(payload):
    """Return the frame that carries `payload` (bytes, at most MAX_PAYLOAD)."""
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolError("payload of %d bytes; a frame carries at most %d" % (len(payload), MAX_PAYLOAD))
    work = bytearray(len(payload) + CRC_BYTES)
    work[: len(payload)] = payload
    out = bytearray(len(payload) + FRAME_OVERHEAD + len(payload) // 254 + 1)
    n = encode_into(work, len(payload), out)
    return bytes(out[:n])


class FrameDecoder:
    """Finds the frames in a byte stream that may start anywhere and hold anything between them.

    `frames`, `damaged` and `garbage_bytes` count what was seen since the start; a damaged segment is one between two zeros
    that is not a frame. Memory stays bounded by MAX_PAYLOAD, whatever is fed.
    """

    def __init__(self):
        self.frames = 0
        self.damaged = 0
        self.garbage_bytes = 0
        self._segment = bytearray()
        self._oversize = False
        self._garbage = bytearray()

    def feed(self, data):
        """Take bytes as they came, in pieces of any size; return the list of payloads (bytes) that are now complete."""
        payloads = []
        start = 0
        while True:
            end = data.find(b"\0", start)
            if end < 0:
                self._keep(data[start:])
                return payloads
            self._keep(data[start:end])
            payload = self._close()
            if payload is not None:
                payloads.append(payload)
            start = end + 1

    def take_garbage(self):
        """Return and forget the last bytes that were no frame, a zero behind each segment: often text the interpreter printed."""
        text = bytes(self._garbage)
        self._garbage = bytearray()
        return text

    def _keep(self, piece):
        if self._oversize or len(self._segment) + len(piece) > _MAX_COBS:
            if not self._oversize:
                self._oversize = True
                self._discard(self._segment)
                self._segment = bytearray()
            self._discard(piece)
        else:
            self._segment.extend(piece)

    def _close(self):
        segment, oversize = bytes(self._segment), self._oversize
        self._segment = bytearray()
        self._oversize = False
        if oversize:
            self.damaged += 1
            return None
        if not segment:
            return None
        payload = _open(segment)
        if payload is None:
            self.damaged += 1
            self._discard(segment)
            return None
        self.frames += 1
        return payload

    def _discard(self, piece):
        self.garbage_bytes += len(piece)
        self._garbage.extend(piece)
        self._garbage.append(0)
        if len(self._garbage) > _MAX_GARBAGE:
            self._garbage = self._garbage[-_MAX_GARBAGE:]


def encode_command(payload):
    """Return the line that carries `payload` from host to board: bytes in {LF, A..P} and nothing else."""
    line = bytearray([_LF])
    for byte in payload + crc32_bytes(payload):
        line.append(_LETTER_A + (byte >> 4))
        line.append(_LETTER_A + (byte & 15))
    line.append(_LF)
    return bytes(line)


class CommandDecoder:
    """The board's end of the host's commands: one byte at a time, into a buffer made once, allocating nothing."""

    def __init__(self, max_payload=16):
        self.payload = bytearray(max_payload + CRC_BYTES)
        self.damaged = 0
        self._check = bytearray(max_payload + CRC_BYTES)
        self._n = 0
        self._nibbles = 0
        self._bad = False

    def feed(self, byte):
        """Take one byte; return the length of the payload now complete in `self.payload`, or -1.

        The payload is valid until the next call.
        """
        if byte == _LF:
            return self._close()
        nibble = byte - _LETTER_A
        if nibble < 0 or nibble > 15 or self._n == len(self.payload):
            self._bad = True
        elif self._nibbles & 1:
            self.payload[self._n] |= nibble
            self._n += 1
            self._nibbles += 1
        else:
            self.payload[self._n] = nibble << 4
            self._nibbles += 1
        return -1

    def _close(self):
        n, nibbles, bad = self._n, self._nibbles, self._bad
        self._n = self._nibbles = 0
        self._bad = False
        if nibbles == 0 and not bad:
            return -1
        length = n - CRC_BYTES
        if bad or nibbles & 1 or length < 1 or not self._intact(length):
            self.damaged += 1
            return -1
        return length

    def _intact(self, length):
        for i in range(length):
            self._check[i] = self.payload[i]
        put_crc32(self._check, length)
        for i in range(length, length + CRC_BYTES):
            if self._check[i] != self.payload[i]:
                return False
        return True


def _open(segment):
    """Return the payload inside a COBS segment, or None where it is no intact frame."""
    data = _cobs_decode(segment)
    if data is None or len(data) <= CRC_BYTES or len(data) > MAX_PAYLOAD + CRC_BYTES:
        return None
    payload = bytes(data[:-CRC_BYTES])
    return payload if crc32_bytes(payload) == bytes(data[-CRC_BYTES:]) else None


def _cobs_encode_into(src, n, out, at):
    code_at = at
    at += 1
    code = 1
    for i in range(n):
        byte = src[i]
        if byte:
            out[at] = byte
            at += 1
            code += 1
        if not byte or code == 255:
            out[code_at] = code
            code_at = at
            at += 1
            code = 1
    out[code_at] = code
    return at


def _cobs_decode(segment):
    out = bytearray()
    at = 0
    n = len(segment)
    while at < n:
        code = segment[at]
        end = at + code
        if code == 0 or end > n:
            return None
        out.extend(segment[at + 1 : end])
        if code < 255 and end < n:
            out.append(0)
        at = end
    return out
