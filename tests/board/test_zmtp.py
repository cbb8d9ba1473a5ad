"""ZMTP as a subscriber sees it: handshake, subscriptions of both versions, heartbeats, and everything that is no subscriber.

The bytes are written out from RFC 23 and RFC 37, and every case feeds them one by one.
"""

from expect import Noise, equal
from subscriber import SUB_READY, command, greeting, message

from epi_firmware import zmtp

HELLO, SAMPLE, PONG, LOG = range(4)


def fed(peer, data):
    """Feed bytes up to the first that completes something; return (what, bytes used)."""
    for used, byte in enumerate(data):
        event = peer.feed(byte)
        if event != zmtp.NOTHING:
            return event, used + 1
    return zmtp.NOTHING, len(data)


def subscriber(minor=1):
    peer = zmtp.Peer()
    equal(fed(peer, greeting(minor=minor)), (zmtp.GREETED, 64))
    assert not peer.ready
    equal(fed(peer, SUB_READY), (zmtp.NOTHING, len(SUB_READY)))
    assert peer.ready
    return peer


def wanted(peer):
    return [topic for topic in range(4) if peer.wants(topic)]


def test_our_own_greeting_and_ready_are_what_a_peer_would_take():
    equal(len(zmtp.GREETING), 64)
    peer = zmtp.Peer()
    equal(fed(peer, zmtp.GREETING), (zmtp.GREETED, 64))
    equal(fed(peer, zmtp.READY), (zmtp.BAD, len(zmtp.READY)))  # a PUB takes no PUB
    equal(zmtp.READY[1], len(zmtp.READY) - 2)


def test_a_new_subscriber_gets_nothing():
    for minor in (0, 1, 9):
        equal(wanted(subscriber(minor)), [])


def test_subscriptions_come_as_messages_and_as_commands():
    for subscribe, cancel in (
        (lambda topic: message(b"\x01" + topic), lambda topic: message(b"\x00" + topic)),
        (lambda topic: command(b"SUBSCRIBE", topic), lambda topic: command(b"CANCEL", topic)),
    ):
        peer = subscriber()
        fed(peer, subscribe(b"sample"))
        equal(wanted(peer), [SAMPLE])
        fed(peer, subscribe(b"p") + subscribe(b"logbook") + subscribe(b"Sample"))
        equal(wanted(peer), [SAMPLE, PONG])
        fed(peer, subscribe(b""))
        equal(wanted(peer), [HELLO, SAMPLE, PONG, LOG])
        fed(peer, cancel(b"") + cancel(b"p"))
        equal(wanted(peer), [SAMPLE])
        fed(peer, cancel(b"sample"))
        equal(wanted(peer), [])


def test_subscriptions_are_counted_and_cancels_of_nothing_are_nothing():
    peer = subscriber()
    fed(peer, command(b"SUBSCRIBE", b"sample") + command(b"SUBSCRIBE", b"sample") + command(b"CANCEL", b"sample"))
    equal(wanted(peer), [SAMPLE])
    fed(peer, command(b"CANCEL", b"") + command(b"CANCEL", b"sam") + command(b"CANCEL", b"hello"))
    equal(wanted(peer), [SAMPLE])
    fed(peer, command(b"CANCEL", b"sample"))
    equal(wanted(peer), [])


def test_a_heartbeat_is_answered_with_its_context():
    peer = subscriber()
    for context in (b"", b"abc", b"0123456789abcdef"):
        equal(fed(peer, command(b"PING", b"\x00\x64" + context))[0], zmtp.PING)
        equal(bytes(peer.reply[: peer.reply_length]), command(b"PONG", context))
    equal(fed(peer, command(b"PING", b"\x00\x64" + b"x" * 17))[0], zmtp.BAD)
    equal(fed(subscriber(), command(b"PING", b"\x00"))[0], zmtp.BAD)


def test_a_message_that_is_no_subscription_is_for_us():
    peer = subscriber()
    data = message(b"\nBBABACADAEPOGNNKAM\n")
    equal(fed(peer, data), (zmtp.COMMAND, len(data)))
    equal(bytes(peer.body[: peer.length]), b"\nBBABACADAEPOGNNKAM\n")
    equal(fed(peer, message(b"")), (zmtp.NOTHING, 2))


def test_commands_unknown_to_us_are_passed_over():
    peer = subscriber()
    fed(peer, command(b"SUBSCRIBE", b"sample"))
    others = command(b"PONG", b"abc"), command(b"ERROR", b"\x03bad"), command(b"JOIN", b"group"), bytes([4, 0]), bytes([4, 1, 9])
    for other in others:
        equal(fed(peer, other), (zmtp.NOTHING, len(other)))
    equal(wanted(peer), [SAMPLE])


def test_ready_may_carry_other_properties():
    peer = zmtp.Peer()
    fed(peer, greeting())
    properties = b"\x08Identity\x00\x00\x00\x02ab\x05X-Any\x00\x00\x00\x00\x0bSocket-Type\x00\x00\x00\x04XSUB"
    fed(peer, command(b"READY", properties))
    assert peer.ready


def test_what_does_not_greet_as_zmtp_3_is_bad_at_once():
    for data, used in (
        (b"GET / HTTP/1.1\r\n", 1),
        (greeting(first=0), 1),
        (b"\xff" + b"\0" * 8 + b"\x7e", 10),
        (greeting(major=2), 11),
        (greeting(mechanism=b"PLAIN"), 13),
        (greeting(mechanism=b"NULLS"), 17),
    ):
        equal(fed(zmtp.Peer(), data), (zmtp.BAD, used))


def test_a_handshake_that_is_none():
    for data in (
        message(b"\x01"),
        command(b"SUBSCRIBE", b""),
        command(b"READY", b""),
        command(b"READY", b"\x0bSocket-Type\x00\x00\x00\x04PULL"),
        command(b"READY", b"\x0bSocket-Type\x00\x00\x00\x09SUB"),
        command(b"READY", b"\x0bSocket-Type\x01\x00\x00\x03SUB"),
        command(b"READY", b"\xffSocket-Type"),
        command(b"READY", b"\x08Identity\x00\x00\x00\x00"),
        b"\x02\0\0\0\0\0\0\x01\0",
        b"\x80",
        b"\x05",
    ):
        peer = zmtp.Peer()
        fed(peer, greeting())
        equal(fed(peer, data)[0], zmtp.BAD)
        assert not peer.ready


def test_noise_behind_the_handshake_ends_or_is_passed_over():
    noise = Noise(7)
    ends = 0
    for _ in range(300):
        peer = subscriber()
        event, _used = fed(peer, noise.bytes(40))
        ends += event == zmtp.BAD
        assert 0 <= peer.length <= 255
    assert 100 < ends <= 300
