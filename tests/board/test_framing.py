"""The board's own framing, in machine code where there is an emitter: byte for byte what the host's makes."""

import sys

from expect import Noise, equal

from epi_firmware import framing
from epi_protocol import frame

SIZES = tuple(range(1, 40)) + (127, 248, 249, 250, 251, 252, 253, 254, 255, 256, 505, 510, 600)


def made(encode_into, payload):
    work, out = bytearray(payload) + bytearray(frame.CRC_BYTES), bytearray(len(payload) + 16)
    length = encode_into(work, len(payload), memoryview(out))
    return bytes(out[:length])


def test_every_length_and_every_kind_of_bytes():
    noise = Noise(7)
    for size in SIZES:
        for payload in (bytes(size), b"\xff" * size, b"\x01" * size, noise.bytes(size)):
            equal(made(framing.encode_into, payload), made(frame.encode_into, payload))
            equal(made(framing.encode_into, payload), frame.encode(payload))


def test_the_board_compiles_it_to_machine_code():
    emits = sys.implementation.name == "micropython" and getattr(sys.implementation, "_mpy", 0) >> 10
    equal(framing.encode_into is frame.encode_into, not emits)
