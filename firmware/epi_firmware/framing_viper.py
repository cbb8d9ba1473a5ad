"""`epi_protocol.frame.encode_into` in viper, MicroPython's typed subset of Python that compiles to machine code.

CPython cannot import this file. Viper's integers are machine words, 32 or 64 bits wide: whatever is above bit 31 is masked away.
"""

from array import array

# CRC-32 of the sixteen nibbles, reflected 0xEDB88320: 64 bytes, where a table of bytes would take a kilobyte of the heap.
_NIBBLES = array("I", [0] * 16)
for _index in range(16):
    _crc = _index
    for _ in range(4):
        _crc = _crc >> 1 ^ (0xEDB88320 if _crc & 1 else 0)
    _NIBBLES[_index] = _crc


def encode_into(payload, n, out):
    """Frame `payload[:n]` into `out`, allocating nothing; return the frame's length in bytes: see epi_protocol.frame."""
    _put_crc32(payload, n, _NIBBLES)
    out[0] = 0
    end = _cobs_encode_into(payload, n + 4, out, 1)
    out[end] = 0
    return end + 1


@micropython.viper
def _put_crc32(buf: ptr8, n: int, nibbles: ptr32):
    crc = int(-1)
    for i in range(n):
        crc ^= int(buf[i])
        crc = (crc >> 4 & 0x0FFFFFFF) ^ int(nibbles[crc & 15])
        crc = (crc >> 4 & 0x0FFFFFFF) ^ int(nibbles[crc & 15])
    crc ^= -1
    for i in range(4):
        buf[n + i] = crc & 0xFF
        crc >>= 8


@micropython.viper
def _cobs_encode_into(src: ptr8, n: int, out: ptr8, at: int) -> int:
    code_at = at
    at += 1
    code = 1
    for i in range(n):
        byte = int(src[i])
        if byte != 0:
            out[at] = byte
            at += 1
            code += 1
        if byte == 0 or code == 255:
            out[code_at] = code
            code_at = at
            at += 1
            code = 1
    out[code_at] = code
    return at
