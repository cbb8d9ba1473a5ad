"""The daemon's picture of one board: bytes in, events out, whole, byte by byte and between garbage."""

import pytest

from epi_protocol import PROTOCOL_VERSION, frame, messages
from epid.daemon.board import BoardSession, ClockExchange, Hello, Log, Sample
from epid.daemon.pinger import BURST_PERIOD_NS, PING_LOST_NS, Pinger
from epid.errors import LinkError
from fakes import board


def session_with_nonces():
    counter = iter(range(1 << 20))
    return BoardSession(Pinger(4, lambda size: next(counter).to_bytes(size, "little")))


def feed(session, data, host_ns=0, size=None):
    pieces = [data] if size is None else [data[at : at + size] for at in range(0, len(data), size)]
    return [event for piece in pieces for event in session.receive(piece, host_ns)]


STREAM = board.on_the_wire([board.hello(), *(payload for _us, payload in board.stream(1, lambda t: 5.0))])


@pytest.mark.parametrize("size", [None, 1, 7, 64])
@pytest.mark.parametrize("before", [b"", b"MPY: soft reboot\r\nTraceback: none\r\n", bytes(range(1, 256))])
def test_a_stream_reads_the_same_whole_in_pieces_and_behind_garbage(size, before):
    session = session_with_nonces()
    events = feed(session, before + STREAM + b"\x05tail", size=size)
    assert [type(event) for event in events if not isinstance(event, Log)] == [Hello] + [Sample] * 20
    assert (session.samples, session.lost) == (20, 0)


def test_text_between_frames_reaches_the_log_and_noise_does_not():
    session = session_with_nonces()
    events = feed(session, board.on_the_wire([board.hello()]) + b"MemoryError: no memory\0" + bytes(range(128, 255)) + b"\0")
    assert [event.text for event in events if isinstance(event, Log)] == ["between the frames: MemoryError: no memory"]


def test_a_missing_frame_is_counted_where_it_is_missing():
    payloads = [payload for _us, payload in board.stream(1, lambda t: 5.0)]
    session = session_with_nonces()
    events = feed(session, board.on_the_wire([board.hello(), *payloads[:5], *payloads[8:]]))
    assert [event.lost for event in events if isinstance(event, Sample)] == [0] * 5 + [3] + [0] * 11
    assert session.lost == 3


def test_nothing_is_sent_before_hello_and_never_a_control_character():
    session = session_with_nonces()
    assert session.command_due(10**12) is None
    feed(session, board.on_the_wire([board.hello()]))
    command = session.command_due(10**12)
    assert set(command) <= set(b"\nABCDEFGHIJKLMNOP")


def test_an_exchange_needs_its_own_nonce():
    session = session_with_nonces()
    feed(session, board.on_the_wire([board.hello()]))
    session.command_due(1_000_000)
    first, second = (0).to_bytes(4, "little"), (1).to_bytes(4, "little")
    assert feed(session, board.on_the_wire([board.pong(second, 1, 2)]), 2_000_000) == []
    (event,) = feed(session, board.on_the_wire([board.pong(first, 500, 520)]), 3_000_000)
    assert event == ClockExchange(board.BOOT, first, 1_000_000, 500, 520, 3_000_000)
    assert feed(session, board.on_the_wire([board.pong(first, 500, 520)]), 4_000_000) == [], "an answer counts once"


def test_an_answer_later_than_the_patience_is_not_taken():
    session = session_with_nonces()
    feed(session, board.on_the_wire([board.hello()]))
    session.command_due(0)
    session.command_due(PING_LOST_NS + BURST_PERIOD_NS)
    assert feed(session, board.on_the_wire([board.pong((0).to_bytes(4, "little"), 1, 2)]), PING_LOST_NS * 2) == []


def test_a_reboot_starts_a_new_clock_and_a_new_count():
    session = session_with_nonces()
    feed(session, STREAM)
    session.command_due(0)
    feed(session, board.on_the_wire([board.pong(bytes(4), 1, 2)]), 1_000_000)
    assert session.pinger.bound_ns() is not None
    other = b"\x09\x09\x09\x09"
    (event,) = feed(session, board.on_the_wire([board.hello(other)]))
    assert event.rebooted and session.boots == 2 and session.pinger.bound_ns() is None
    late = board.sample(21, 0, [0] * 4, [0] * 4)
    assert feed(session, board.on_the_wire([late])) == [], "a frame of the old boot that was still on its way"


def test_a_board_of_the_future_is_refused_in_one_sentence():
    payload = bytearray(board.hello())
    payload[1] = 99
    with pytest.raises(LinkError, match=f"speaks protocol 99 and this program protocol {PROTOCOL_VERSION}"):
        feed(session_with_nonces(), frame.encode(bytes(payload)))


def test_a_frame_that_is_no_message_is_refused_and_counted():
    session = session_with_nonces()
    events = feed(session, board.on_the_wire([board.hello(), bytes([0x7E, 1, 2]), bytes([messages.SAMPLE, 0])]))
    assert session.refused == 2
    assert [event.level for event in events if isinstance(event, Log)] == [1, 1]
