"""Frames out of any stream: golden bytes, and every kind of garbage in every kind of piece."""

from expect import Noise, raises

from epi_protocol.errors import ProtocolError
from epi_protocol.frame import (
    FIXED_PAYLOAD,
    FRAME_OVERHEAD,
    MAX_PAYLOAD,
    CommandDecoder,
    FrameDecoder,
    _cobs_decode,
    _cobs_encode_into,
    encode,
    encode_command,
    encode_into,
)

# The IP header of figure 3 of Cheshire and Baker 1999, and the edges of their 254-byte rule.
COBS = (
    ("4500002c4c79000040064f37", "0245" + "01" + "042c4c79" + "01" + "0540064f37"),
    ("00", "0101"),
    ("0000", "010101"),
    ("11220033", "0311220233"),
    ("11223344", "0511223344"),
    ("11000000", "0211010101"),
    ("01" * 254, "ff" + "01" * 254 + "01"),
    ("01" * 253 + "00", "fe" + "01" * 253 + "01"),
    ("01" * 254 + "00", "ff" + "01" * 254 + "0101"),
    ("01" * 255, "ff" + "01" * 254 + "0201"),
)

REPL_TEXT = b'\r\nMicroPython v1.28.0 on 2026-04-06; Raspberry Pi Pico 2\r\nType "help()" for more information.\r\n>>> '


def decode(data, piece=0):
    """Feed `data` whole, or in pieces; return (payloads, decoder)."""
    decoder, payloads = FrameDecoder(), []
    step = piece or len(data) or 1
    for at in range(0, len(data), step):
        payloads += decoder.feed(data[at : at + step])
    return payloads, decoder


def every_way(stream, expected):
    """Whole, byte by byte, in sevens, and with a tail that is not finished."""
    for piece in (0, 1, 7):
        assert decode(stream, piece)[0] == expected, piece
        assert decode(stream + b"\x05tail", piece)[0] == expected, piece


def test_cobs_examples_of_the_paper():
    for plain, stuffed in COBS:
        data = bytes.fromhex(plain)
        out = bytearray(len(data) + 4)
        end = _cobs_encode_into(data, len(data), out, 0)
        assert bytes(out[:end]) == bytes.fromhex(stuffed), plain
        assert bytes(_cobs_decode(bytes.fromhex(stuffed))) == data, stuffed


def test_golden_frame():
    assert encode(b"123456789") == bytes.fromhex("00" + "0e" + "313233343536373839" + "2639f4cb" + "00")


def test_round_trip_of_every_length():
    noise = Noise(5)
    for length in (1, 2, 3, 100, 248, 249, 250, 253, 254, 255, 509, 1000, MAX_PAYLOAD):
        payload = noise.bytes(length)
        assert decode(encode(payload))[0] == [payload], length
        full = bytes([1 + i % 255 for i in range(length)])
        assert decode(encode(full))[0] == [full], length


def test_a_short_frame_has_a_fixed_length():
    for payload in (b"\0" * FIXED_PAYLOAD, b"\x01" * FIXED_PAYLOAD, Noise(2).bytes(FIXED_PAYLOAD)):
        assert len(encode(payload)) == FIXED_PAYLOAD + FRAME_OVERHEAD


def test_encode_into_equals_encode():
    work, out = bytearray(b"hello\0world....."), bytearray(64)
    n = encode_into(work, 11, out)
    assert bytes(out[:n]) == encode(b"hello\0world")


def test_too_long_a_payload_is_refused():
    assert "a frame carries at most 2560" in raises(ProtocolError, encode, b"x" * (MAX_PAYLOAD + 1))


def test_frames_back_to_back():
    payloads = [b"one", b"\0\0", b"three\0"]
    every_way(b"".join([encode(payload) for payload in payloads]), payloads)


def test_repl_text_before_between_and_after():
    stream = REPL_TEXT + encode(b"one") + REPL_TEXT + encode(b"two") + REPL_TEXT
    every_way(stream, [b"one", b"two"])
    _payloads, decoder = decode(stream + b"\0")
    assert decoder.take_garbage() == (REPL_TEXT + b"\0") * 3
    assert decoder.take_garbage() == b""
    assert decoder.damaged == 3 and decoder.frames == 2 and decoder.garbage_bytes == 3 * len(REPL_TEXT)


def test_a_torn_frame_costs_nobody_else():
    frame = encode(b"torn\0frame")
    for cut in range(1, len(frame)):
        every_way(frame[:cut] + encode(b"next"), ([b"torn\0frame"] if cut == len(frame) - 1 else []) + [b"next"])


def test_a_lost_start_costs_nobody_else():
    frame = encode(b"headless")
    for cut in range(2, len(frame)):
        every_way(frame[cut:] + encode(b"next"), [b"next"])


def test_every_single_flip_is_noticed():
    frame = encode(b"\x02\x00payload\x00\xff")
    for bit in range(8, 8 * (len(frame) - 1)):
        broken = bytearray(frame)
        broken[bit >> 3] ^= 1 << (bit & 7)
        payloads, decoder = decode(bytes(broken) + encode(b"next"))
        assert payloads == [b"next"], bit
        assert decoder.damaged >= 1


def test_noise_is_never_a_frame():
    noise = Noise(9)
    stream = b"".join([noise.bytes(500) for _ in range(20)])
    every_way(b"".join([stream, b"\0", encode(b"after")]), [b"after"])


def test_an_endless_line_without_zero_is_forgotten():
    decoder = FrameDecoder()
    for _ in range(50):
        assert decoder.feed(b"x" * 1000) == []
    assert len(decoder._segment) <= MAX_PAYLOAD + 20 and len(decoder.take_garbage()) <= 4096
    assert decoder.feed(b"\0" + encode(b"next")) == [b"next"]
    assert decoder.damaged == 1


def test_an_empty_payload_is_no_frame():
    assert decode(b"\0\x05\0\0\0\0\0\0")[0] == []


def command(decoder, line):
    """Feed a line; return the payloads that came out."""
    payloads = []
    for byte in line:
        length = decoder.feed(byte)
        if length >= 0:
            payloads.append(bytes(decoder.payload[:length]))
    return payloads


def test_golden_command():
    assert encode_command(b"\x11abcd") == b"\nBBGBGCGDGECCFLGEFH\n"


def test_commands_hold_no_control_character_but_lf():
    line = encode_command(bytes(range(200)))
    assert set(line) <= set(b"\nABCDEFGHIJKLMNOP")


def test_commands_come_through_garbage():
    decoder = CommandDecoder()
    line = encode_command(b"\x11abcd")
    assert command(decoder, b"import sys\r\n" + line + b"\x04\x01x" + line) == [b"\x11abcd", b"\x11abcd"]
    assert decoder.damaged == 2


def test_a_damaged_command_is_counted_and_dropped():
    line = encode_command(b"\x11abcd")
    for at in range(1, len(line) - 1):
        decoder = CommandDecoder()
        for wrong in (b"Q", b"A" if line[at] != 0x41 else b"B", b""):
            assert command(decoder, line[:at] + wrong + line[at + 1 :]) == [], at
        assert decoder.damaged == 3
        assert command(decoder, line) == [b"\x11abcd"]


def test_too_long_a_command_is_dropped():
    decoder = CommandDecoder(16)
    assert command(decoder, encode_command(b"x" * 17)) == []
    assert command(decoder, encode_command(b"x" * 16)) == [b"x" * 16]
    assert decoder.damaged == 1
