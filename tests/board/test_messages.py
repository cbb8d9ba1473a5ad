"""Every message against bytes written down by hand from SPEC.md, and what is malformed against its sentence."""

from expect import raises

from epi_protocol import PROTOCOL_VERSION
from epi_protocol import messages as m
from epi_protocol.errors import ProtocolError, VersionError

HELLO = "01" + "02" + "424f4f54" + "7b226e223a2022cebc227d"
SAMPLE_HEAD = "02" + "424f4f54" + "04030201" + "0807060504030201" + "05000000" + "01"
CHANNEL = (
    "9001" + "1001"  # dt_us 400, flags NO_LOAD and SETTLING
    "feff" + "0080"  # p -2 + 0.5
    "ffff" + "0000"  # q -1
    "7800" + "0056"  # s 120
    "d959" + "0078"  # u 23001
    "0902" + "009a"  # i 521
    "e883" + "8813"  # pf -1.000, freq 50.00
    "0128"  # en_status 2801H
    "ffffffffff000000" + "0100000000000000"  # forward 2**40 - 1, reverse 1
    "0300"  # unknown
)
PONG = "03" + "424f4f54" + "0a0b0c0d" + "1000000000000000" + "2000000000000001"
LOG = "04" + "424f4f54" + "02" + "7069313a20c2b1"
PING = "11" + "0a0b0c0d"
REPL = "12" + "5245504c"


def test_hello():
    boot_id, description = m.parse_hello(bytes.fromhex(HELLO))
    assert boot_id == b"BOOT" and description == {"n": "\u03bc"}
    plain = m.pack_hello(b"BOOT", {"n": 1})
    assert plain == bytes.fromhex("0102424f4f54") + b'{"n": 1}'
    assert m.parse_hello(plain) == (b"BOOT", {"n": 1})


def test_hello_of_another_protocol():
    future = bytes([m.HELLO, PROTOCOL_VERSION + 1]) + b"BOOT{}"
    assert "the board speaks protocol %d" % (PROTOCOL_VERSION + 1) in raises(VersionError, m.parse_hello, future)


def test_hello_that_describes_nothing():
    head = bytes([m.HELLO, PROTOCOL_VERSION]) + b"BOOT"
    assert "not JSON" in raises(ProtocolError, m.parse_hello, head + b"{")
    assert "not a JSON object" in raises(ProtocolError, m.parse_hello, head + b"[1]")
    assert "HELLO of 3 bytes" in raises(ProtocolError, m.parse_hello, head[:3])


def test_sample():
    head, channels = m.parse_sample(bytes.fromhex(SAMPLE_HEAD + CHANNEL))
    assert head == {
        "type": m.SAMPLE,
        "boot_id": b"BOOT",
        "seq": 0x01020304,
        "board_us": 0x0102030405060708,
        "dropped": 5,
        "n_channels": 1,
    }
    assert channels == [
        {
            "dt_us": 400,
            "flags": m.flag("NO_LOAD") | m.flag("SETTLING"),
            "p": -2,
            "p_lsb": 0x8000,
            "q": -1,
            "q_lsb": 0,
            "s": 120,
            "s_lsb": 0x5600,
            "u": 23001,
            "u_lsb": 0x7800,
            "i": 521,
            "i_lsb": 0x9A00,
            "pf": 0x83E8,
            "freq": 5000,
            "en_status": 0x2801,
            "forward": (1 << 40) - 1,
            "reverse": 1,
            "unknown": 3,
        }
    ]


def test_sample_of_the_wrong_length():
    whole = bytes.fromhex(SAMPLE_HEAD + CHANNEL)
    for wrong in (whole[:-1], whole + b"\0", whole[:22]):
        assert "for 1 channels, expected %d" % len(whole) in raises(ProtocolError, m.parse_sample, wrong)
    assert "SAMPLE of 5 bytes" in raises(ProtocolError, m.parse_sample, whole[:5])


def test_four_channels_make_one_cobs_block():
    assert m.size_of(m.SAMPLE_FIELDS) + 4 * m.size_of(m.CHANNEL_FIELDS) == 214


def test_ping_and_pong():
    assert m.pack_ping(b"\x0a\x0b\x0c\x0d") == bytes.fromhex(PING)
    assert m.parse_pong(bytes.fromhex(PONG)) == {
        "type": m.PONG,
        "boot_id": b"BOOT",
        "nonce": b"\x0a\x0b\x0c\x0d",
        "recv_us": 16,
        "send_us": (1 << 56) + 32,
    }


def test_log():
    assert m.parse_log(bytes.fromhex(LOG)) == (2, "pi1: \u00b1")
    assert m.pack_log(b"BOOT", 2, "pi1: \u00b1") == bytes.fromhex(LOG)


def test_log_that_is_no_text_is_shown_and_not_lost():
    level, text = m.parse_log(bytes.fromhex("04424f4f5401") + b"a\xff\xfe")
    assert level == 1 and "xff" in text


def test_repl():
    assert m.pack_repl() == bytes.fromhex(REPL)


def test_offsets_are_those_of_the_golden_sample():
    raw = bytes.fromhex(CHANNEL)
    at = m.offset_of(m.CHANNEL_FIELDS, "en_status")
    assert raw[at : at + 2] == b"\x01\x28"
    assert m.offset_of(m.SAMPLE_FIELDS, "board_us") == 9
    raises(KeyError, m.offset_of, m.SAMPLE_FIELDS, "nothing")


def test_flags_are_distinct_bits_of_sixteen():
    seen = 0
    for name, bit, meaning in m.FLAGS:
        assert 0 <= bit < 16 and not seen & 1 << bit and meaning
        assert m.flag(name) == 1 << bit
        seen |= 1 << bit
    raises(KeyError, m.flag, "NO_SUCH_FLAG")


def test_low_bits_extend_upwards_also_below_zero():
    assert m.extended(5, 0x8000) == 5.5
    assert m.extended(-2, 0x8000) == -1.5
    assert m.extended(-1, 0xFF00) == -0.00390625


def test_sign_and_magnitude():
    assert m.sign_magnitude(0x83E8) == -1000  # datasheet, PowerF
    assert m.sign_magnitude(0x03E8) == 1000
    assert m.sign_magnitude(0x8000) == 0
