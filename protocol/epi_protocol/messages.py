"""What the frames carry: every message as a table of fields, packed and unpacked by the tables alone. Board-clean.

A field is (name, kind, meaning). All numbers are little-endian. The tables are the specification: SPEC.md is printed from
them, the board takes its byte offsets from them, the host its struct formats.
"""

import json
import struct

from . import PROTOCOL_VERSION
from .errors import ProtocolError, VersionError

_CODES = {"u8": "B", "u16": "H", "i16": "h", "u32": "I", "u64": "Q", "id4": "4s"}

HELLO, SAMPLE, PONG, LOG = 0x01, 0x02, 0x03, 0x04
PING, REPL = 0x11, 0x12

HELLO_FIELDS = (
    ("type", "u8", "0x01"),
    ("protocol", "u8", "PROTOCOL_VERSION of the sender; the first two bytes never change their meaning"),
    ("boot_id", "id4", "drawn at random at each start of the firmware"),
)
"""HELLO, board to host at start and every second after: followed by a description of the board as UTF-8 JSON."""

SAMPLE_FIELDS = (
    ("type", "u8", "0x02"),
    ("boot_id", "id4", "as in HELLO"),
    ("seq", "u32", "number of this sweep since boot; a missing number is a lost frame"),
    ("board_us", "u64", "start of the sweep, microseconds since boot"),
    ("dropped", "u32", "frames that the board's ring has dropped since boot"),
    ("n_channels", "u8", "number of channel blocks that follow"),
)
"""SAMPLE, board to host once per sweep: this head, then one channel block per chip."""

CHANNEL_FIELDS = (
    ("dt_us", "u16", "from the start of the sweep to the reading of P of this chip"),
    ("flags", "u16", "see FLAGS"),
    ("p", "i16", "Pmean (4AH), active power, two's complement"),
    ("p_lsb", "u16", "LSB (08H) right after it: 1/65536 of p's unit"),
    ("q", "i16", "Qmean (4BH), reactive power, two's complement"),
    ("q_lsb", "u16", "LSB right after it"),
    ("s", "u16", "Smean (4FH), apparent power"),
    ("s_lsb", "u16", "LSB right after it"),
    ("u", "u16", "Urms (49H)"),
    ("u_lsb", "u16", "LSB right after it"),
    ("i", "u16", "Irms (48H)"),
    ("i_lsb", "u16", "LSB right after it"),
    ("pf", "u16", "PowerF (4DH), power factor, sign and magnitude, 0.001"),
    ("freq", "u16", "Freq (4CH), line frequency, 0.01 Hz"),
    ("en_status", "u16", "EnStatus (46H)"),
    ("forward", "u64", "sum of all accepted readings of APenergy (40H) since boot, in ticks of 0.1 pulse"),
    ("reverse", "u64", "sum of all accepted readings of ANenergy (41H) since boot, in ticks of 0.1 pulse"),
    ("unknown", "u16", "sweeps since boot whose energy could not be read with certainty, modulo 65536"),
)
"""One ATM90E26 in one sweep: its registers as read, and the sums of its read-clear energy registers."""

PONG_FIELDS = (
    ("type", "u8", "0x03"),
    ("boot_id", "id4", "as in HELLO"),
    ("nonce", "id4", "from the PING that this answers"),
    ("recv_us", "u64", "board time at which the PING was complete"),
    ("send_us", "u64", "board time at which this PONG was handed to the link"),
)
"""PONG, board to host: the board's half of one two-way time exchange."""

LOG_FIELDS = (
    ("type", "u8", "0x04"),
    ("boot_id", "id4", "as in HELLO"),
    ("level", "u8", "0 note, 1 warning, 2 error"),
)
"""LOG, board to host: one sentence for a person, UTF-8, behind this head."""

PING_FIELDS = (("type", "u8", "0x11"), ("nonce", "id4", "echoed in the PONG: a late answer is never taken for another"))
"""PING, host to board."""

REPL_FIELDS = (("type", "u8", "0x12"), ("key", "id4", "the four bytes 'REPL'"))
"""REPL, host to board: re-enable Ctrl-C and leave the program for the interpreter's prompt."""

REPL_KEY = b"REPL"

FLAGS = (
    ("ENERGY_UNKNOWN", 0, "the energy registers were not read with certainty in this sweep"),
    ("MEASURE_INVALID", 1, "a measurement register read FFFFH or failed its check in this sweep"),
    ("ABSENT", 2, "the chip does not answer"),
    ("REINIT", 3, "the chip had lost its configuration and was set up again since the last sweep: energy before that is lost"),
    ("NO_LOAD", 4, "EnStatus says no load: the energy registers stand still"),
    ("REVERSED", 5, "reverse energy is growing: is the CT clamped on the wrong way round?"),
    ("CALIBRATION_ERROR", 6, "SysStatus says CalErr or AdjErr: a checksum does not match"),
    ("STALE", 7, "the readings stand still, and the chip's state or its energy says that it has stopped measuring"),
    ("SETTLING", 8, "just after the chip's start: readings are not yet settled"),
    (
        "ENERGY_LATE",
        9,
        "the energy registers were not read in this sweep; what they hold comes later, nothing is lost",
    ),
)
"""Bits of a channel's `flags`: (name, bit, meaning)."""


def size_of(fields):
    """Length in bytes of a table of fields."""
    return struct.calcsize(_format(fields))


def offset_of(fields, name):
    """Byte offset of field `name` in a table of fields."""
    at = 0
    for field, kind, _meaning in fields:
        if field == name:
            return at
        at += struct.calcsize("<" + _CODES[kind])
    raise KeyError(name)


def flag(name):
    """The value of the flag called `name`."""
    for label, bit, _meaning in FLAGS:
        if label == name:
            return 1 << bit
    raise KeyError(name)


def _format(fields):
    return "<" + "".join(_CODES[kind] for _name, kind, _meaning in fields)


def _unpack(fields, payload, what):
    if len(payload) < size_of(fields):
        raise ProtocolError("%s of %d bytes, expected %d" % (what, len(payload), size_of(fields)))
    values = struct.unpack_from(_format(fields), payload, 0)
    return {field[0]: value for field, value in zip(fields, values)}


def pack_hello(boot_id, description):
    """HELLO payload: `boot_id` four bytes, `description` a dict that JSON can hold (keys: see SPEC.md)."""
    head = struct.pack(_format(HELLO_FIELDS), HELLO, PROTOCOL_VERSION, boot_id)
    return head + json.dumps(description).encode()


def parse_hello(payload):
    """Return (boot_id, description) of a HELLO payload.

    Raises VersionError where the board speaks another protocol, ProtocolError where the description is no JSON object.
    """
    head = _unpack(HELLO_FIELDS, payload, "HELLO")
    if head["protocol"] != PROTOCOL_VERSION:
        raise VersionError(
            "the board speaks protocol %d and this program protocol %d; bring both to the same release"
            % (head["protocol"], PROTOCOL_VERSION)
        )
    try:
        description = json.loads(payload[size_of(HELLO_FIELDS) :])
    except ValueError:
        raise ProtocolError("HELLO whose description is not JSON") from None
    if not isinstance(description, dict):
        raise ProtocolError("HELLO whose description is not a JSON object")
    return head["boot_id"], description


def parse_sample(payload):
    """Return (head, channels) of a SAMPLE payload: a dict of SAMPLE_FIELDS, and a list of dicts of CHANNEL_FIELDS."""
    head = _unpack(SAMPLE_FIELDS, payload, "SAMPLE")
    head_size, block_size = size_of(SAMPLE_FIELDS), size_of(CHANNEL_FIELDS)
    expected = head_size + head["n_channels"] * block_size
    if len(payload) != expected:
        raise ProtocolError("SAMPLE of %d bytes for %d channels, expected %d" % (len(payload), head["n_channels"], expected))
    blocks = [payload[at : at + block_size] for at in range(head_size, expected, block_size)]
    return head, [_unpack(CHANNEL_FIELDS, block, "channel block") for block in blocks]


def pack_ping(nonce):
    """PING payload for four bytes of `nonce`."""
    return struct.pack(_format(PING_FIELDS), PING, nonce)


def pack_repl():
    """REPL payload."""
    return struct.pack(_format(REPL_FIELDS), REPL, REPL_KEY)


def parse_pong(payload):
    """Return the dict of PONG_FIELDS."""
    return _unpack(PONG_FIELDS, payload, "PONG")


def pack_log(boot_id, level, text):
    """LOG payload: `level` 0 note, 1 warning, 2 error."""
    return struct.pack(_format(LOG_FIELDS), LOG, boot_id, level) + text.encode()


def parse_log(payload):
    """Return (level, text) of a LOG payload; bytes that are no UTF-8 are shown as escapes, not lost."""
    head = _unpack(LOG_FIELDS, payload, "LOG")
    body = payload[size_of(LOG_FIELDS) :]
    try:
        return head["level"], body.decode()
    except UnicodeError:
        return head["level"], repr(body)


def extended(main, lsb):
    """A register with its low bits, in units of the main register: `main` (signed where two's complement) + `lsb`/65536.

    For negative power the low part still counts upwards, as in any two's complement number (datasheet, register 08H).
    """
    return main + lsb / 65536


def sign_magnitude(raw):
    """Value of a 16-bit sign-and-magnitude register (power factor, phase angle): 83E8H is -1000 (datasheet, PowerF)."""
    return -(raw & 0x7FFF) if raw & 0x8000 else raw
