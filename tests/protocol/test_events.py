"""Hook events: what is packed comes back, and what is malformed is refused in one sentence."""

from array import array

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epi_protocol import PROTOCOL_VERSION, events
from epi_protocol.errors import ProtocolError, VersionError

RANGES = {
    "B": (0, 0xFF),
    "H": (0, 0xFFFF),
    "h": (-(1 << 15), (1 << 15) - 1),
    "i": (-(1 << 31), (1 << 31) - 1),
    "q": (-(1 << 63), (1 << 63) - 1),
}
ROW = st.tuples(*(st.integers(*RANGES[code]) for _name, code, _meaning in events.COLUMNS))


def batch_of(rows, **changes):
    columns = {name: array(code, [row[at] for row in rows]).tobytes() for at, (name, code, _meaning) in enumerate(events.COLUMNS)}
    return {"run": "abcd1234", "seq": 0, "count": len(rows), "dropped": 0, "columns": columns} | changes


@given(st.lists(ROW, max_size=40))
def test_a_batch_comes_back_span_by_span(rows):
    kind, body = events.unpack(events.pack("spans", batch_of(rows)))
    batch = events.span_batch(body)
    names = [name for name, _code, _meaning in events.COLUMNS]
    assert kind == "spans"
    assert [tuple(row[name] for name in names) for row in batch.rows()] == rows
    assert events.span_batch(batch.to_map()) == batch


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"count": 3}, "batch of 3 spans whose column 'begin_ns' is not 24 bytes long"),
        ({"count": events.MAX_BATCH + 1}, "at most 65536 fit in one"),
        ({"count": -1}, "at most 65536 fit in one"),
        ({"seq": "0"}, "'seq' is str, expected int"),
        ({"run": 7}, "'run' is int, expected str"),
        ({"columns": []}, "'columns' is list, expected dict"),
        ({"dropped": True}, "'dropped' is bool, expected int"),
    ],
)
def test_a_malformed_batch_is_refused(changes, sentence):
    with pytest.raises(ProtocolError, match=sentence):
        events.span_batch(batch_of([], **changes))


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_a_message_or_a_sentence(frames):
    try:
        kind, body = events.unpack(frames)
    except ProtocolError:
        return
    assert kind in events.NODE_KINDS | events.DAEMON_KINDS
    assert isinstance(body, dict)


@given(st.sampled_from(["hello", "spans"]), st.binary(max_size=60))
def test_any_body_is_a_map_or_a_sentence(kind, body):
    try:
        _kind, unpacked = events.unpack([kind.encode(), body])
    except ProtocolError:
        return
    assert isinstance(unpacked, dict)


def test_the_wrong_shape_and_the_wrong_kind_are_named():
    with pytest.raises(ProtocolError, match="message of 3 parts"):
        events.unpack([b"hello", b"", b""])
    with pytest.raises(ProtocolError, match="unknown kind 'shout'"):
        events.unpack([b"shout", msgpack.packb({})])
    with pytest.raises(ProtocolError, match="whose body is not a map"):
        events.unpack([b"hello", msgpack.packb([1])])


def test_another_version_is_named():
    _kind, body = events.unpack(events.hello("pi0", "s", "h", 1, "e"))
    events.check_version(body, "this node")
    with pytest.raises(VersionError, match=f"the daemon speaks protocol 7, this program protocol {PROTOCOL_VERSION}"):
        events.check_version(body | {"protocol": 7}, "the daemon")


def test_telemetry_is_numbers_by_name() -> None:
    body = {"run": "r", "node_ns": 5, "readings": {"temperature_c": 51, "rail_core_w": 1.25}}
    assert events.readings(body) == {"temperature_c": 51.0, "rail_core_w": 1.25}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"node_ns": 5, "readings": {}}, "'run' is NoneType"),
        ({"run": "r", "node_ns": "5", "readings": {}}, "'node_ns' is str"),
        ({"run": "r", "node_ns": 5, "readings": {"load": "high"}}, "reading 'load' is str"),
        ({"run": "r", "node_ns": 5, "readings": {"load": True}}, "reading 'load' is bool"),
        ({"run": "r", "node_ns": 5, "readings": {str(n): n for n in range(65)}}, "65 readings; at most 64"),
    ],
)
def test_telemetry_that_is_none_is_refused(body: dict[str, object], sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        events.readings(body)
