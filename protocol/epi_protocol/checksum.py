"""CRC-32 (reflected 0xEDB88320, as in zlib) without a 32-bit integer. Board-clean.

On a 32-bit MicroPython an integer of 2**30 or more is allocated on the heap, and `binascii.crc32` returns one. The board
therefore keeps the register as two 16-bit halves; the host asks its C library. Both give the same four bytes.
"""

from array import array
from binascii import crc32

CRC_BYTES = 4


def _table():
    low, high = array("H", [0] * 256), array("H", [0] * 256)
    for index in range(256):
        lo, hi = index, 0
        for _ in range(8):
            carry = lo & 1
            lo = (lo >> 1) | ((hi & 1) << 15)
            hi >>= 1
            if carry:
                lo ^= 0x8320
                hi ^= 0xEDB8
        low[index], high[index] = lo, hi
    return low, high


_LOW, _HIGH = _table()


def put_crc32(buf, n):
    """Write the CRC-32 of `buf[:n]` to `buf[n:n+4]`, little-endian, allocating nothing."""
    low_table, high_table = _LOW, _HIGH
    lo = hi = 0xFFFF
    for i in range(n):
        index = (lo ^ buf[i]) & 0xFF
        lo = ((lo >> 8) | ((hi & 0xFF) << 8)) ^ low_table[index]
        hi = (hi >> 8) ^ high_table[index]
    lo ^= 0xFFFF
    hi ^= 0xFFFF
    buf[n] = lo & 0xFF
    buf[n + 1] = lo >> 8
    buf[n + 2] = hi & 0xFF
    buf[n + 3] = hi >> 8


def crc32_bytes(data):
    """CRC-32 of `data` as four little-endian bytes (the host's way: one call into C)."""
    return (crc32(data) & 0xFFFFFFFF).to_bytes(CRC_BYTES, "little")
