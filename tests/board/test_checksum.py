"""CRC-32 in 16-bit halves against the published check value and the C library."""

from expect import Noise

from epi_protocol.checksum import CRC_BYTES, crc32_bytes, put_crc32


def put(data):
    buf = bytearray(data) + bytearray(CRC_BYTES)
    put_crc32(buf, len(data))
    return bytes(buf[len(data) :])


def test_check_value():
    assert crc32_bytes(b"123456789") == bytes.fromhex("2639f4cb")  # CBF43926, least byte first
    assert put(b"123456789") == bytes.fromhex("2639f4cb")


def test_of_nothing_is_zero():
    assert put(b"") == crc32_bytes(b"") == b"\0\0\0\0"


def test_both_ways_agree_on_every_length():
    noise = Noise(7)
    for length in range(260):
        data = noise.bytes(length)
        assert put(data) == crc32_bytes(data), length


def test_only_the_four_bytes_behind_are_written():
    buf = bytearray(b"abc\xaa\xaa\xaa\xaa\xaa")
    put_crc32(buf, 3)
    assert buf[:3] == b"abc" and buf[7] == 0xAA


def test_every_single_flip_changes_it():
    data = bytearray(Noise(3).bytes(40))
    before = put(data)
    for bit in range(8 * len(data)):
        data[bit >> 3] ^= 1 << (bit & 7)
        assert put(data) != before, bit
        data[bit >> 3] ^= 1 << (bit & 7)
