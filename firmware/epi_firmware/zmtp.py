"""ZMTP 3, NULL mechanism, as a PUB socket speaks it to one subscriber (ZeroMQ RFC 23: ZMTP 3.0, RFC 37: ZMTP 3.1).

Bytes in, states and answers out; no I/O in here. Subscriptions come as messages (3.0) or as commands (3.1); both are taken
from everybody. Nothing is allocated after a `Peer` is made.
"""

from .registers import const

TOPICS = (b"hello", b"sample", b"pong", b"log")
"""First part of every message we publish; in the order of the message types 1 to 4."""

GREETING = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL" + b"\0" * 48
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB"

NOTHING, GREETED, PING, COMMAND, BAD = 0, 1, 2, 3, 4
"""What `Peer.feed` says: READY is due, `reply` is due, `body` holds a message for us, or this is no subscriber."""

MORE = const(0x01)
LONG = const(0x02)
_COMMAND = const(0x04)

_SIGNATURE, _HANDSHAKE, _TRAFFIC = const(0), const(1), const(2)
_GREETING_BYTES = const(64)
_MECHANISM = b"NULL" + b"\0" * 16
_MECHANISM_AT = const(12)
_AT_FLAGS, _AT_LENGTH, _AT_BODY = const(0), const(1), const(2)
_MAX_BODY = const(255)  # longer ones have a length of eight bytes, and no subscriber of ours has a use for them
_MAX_CONTEXT = const(16)  # of a PING, RFC 37
_ROW = const(8)  # room for the prefixes of one topic, by length
_CANCEL, _SUBSCRIBE = const(0), const(1)


class Peer:
    """One subscriber, or what claims to be one: feed it the bytes of its connection.

    `body[:length]` and `reply[:reply_length]` are valid until the next byte is fed.
    """

    def __init__(self):
        self.body = bytearray(_MAX_BODY)
        self.length = 0
        self.reply = bytearray(7 + _MAX_CONTEXT)
        self.reply_length = 0
        self._subscribed = bytearray(_ROW * len(TOPICS))
        self._wanted = bytearray(len(TOPICS))
        self._state = _SIGNATURE
        self._at = 0
        self._field = _AT_FLAGS
        self._flags = 0

    @property
    def ready(self):
        """True once the handshake is done."""
        return self._state == _TRAFFIC

    def wants(self, topic):
        """True when the peer has subscribed to TOPICS[topic], or to a prefix of it."""
        return self._wanted[topic]

    def feed(self, byte):
        """Take one byte; return NOTHING or what it has completed. After BAD the connection is to be closed."""
        if self._state == _SIGNATURE:
            return self._greeting(byte)
        if self._field == _AT_BODY:
            self.body[self._at] = byte
            self._at += 1
            return self._complete() if self._at == self.length else NOTHING
        if self._field == _AT_FLAGS:
            self._flags = byte
            self._field = _AT_LENGTH
            return BAD if byte & ~(MORE | _COMMAND) or byte == MORE | _COMMAND else NOTHING
        self.length = byte
        self._at = 0
        self._field = _AT_BODY
        return NOTHING if byte else self._complete()

    def _greeting(self, byte):
        """RFC 37: FF, eight bytes of padding, 7F, version, mechanism, as-server, filler."""
        at = self._at
        self._at += 1
        if at == 0 and byte != 0xFF or at == 9 and not byte & 1 or at == 10 and byte < 3:
            return BAD
        if _MECHANISM_AT <= at < _MECHANISM_AT + 20 and byte != _MECHANISM[at - _MECHANISM_AT]:
            return BAD
        if self._at < _GREETING_BYTES:
            return NOTHING
        self._state = _HANDSHAKE
        return GREETED

    def _complete(self):
        self._field = _AT_FLAGS
        if self._state == _HANDSHAKE:
            return self._handshake()
        if self._flags & _COMMAND:
            return self._command()
        if self.length == 0:
            return NOTHING
        if self.body[0] > _SUBSCRIBE:
            return COMMAND
        self._subscribe(1, self.body[0])
        return NOTHING

    def _handshake(self):
        if not self._flags & _COMMAND or not self._named(b"READY") or not self._is_subscriber():
            return BAD
        self._state = _TRAFFIC
        return NOTHING

    def _is_subscriber(self):
        """Walk through READY's properties: length, name, four bytes of length, value."""
        at, body = 6, self.body
        while at < self.length:
            name_at, name_length = at + 1, body[at]
            at = name_at + name_length + 4
            if at > self.length or body[at - 4] or body[at - 3] or body[at - 2]:
                return False
            value_length = body[at - 1]
            if self._is(name_at, name_length, b"Socket-Type"):
                return self._is(at, value_length, b"SUB") or self._is(at, value_length, b"XSUB")
            at += value_length
        return False

    def _command(self):
        if self._named(b"SUBSCRIBE"):
            self._subscribe(10, _SUBSCRIBE)
        elif self._named(b"CANCEL"):
            self._subscribe(7, _CANCEL)
        elif self._named(b"PING"):
            return self._ping()
        return NOTHING

    def _ping(self):
        """PONG repeats the context, which follows two bytes of time to live."""
        n = self.length - 7
        if n < 0 or n > _MAX_CONTEXT:
            return BAD
        reply = self.reply
        reply[0], reply[1] = _COMMAND, 5 + n
        for i in range(5):
            reply[2 + i] = b"\x04PONG"[i]
        for i in range(n):
            reply[7 + i] = self.body[7 + i]
        self.reply_length = 7 + n
        return PING

    def _subscribe(self, at, on):
        """Count one subscription, or one less, of the prefix `body[at:length]`; a cancel of nothing is nothing."""
        n = self.length - at
        for topic in range(len(TOPICS)):
            if n <= len(TOPICS[topic]) and self._begins(TOPICS[topic], at, n):
                here = topic * _ROW + n
                count = self._subscribed[here]
                if on and count < 255:
                    self._subscribed[here] = count + 1
                elif not on and count:
                    self._subscribed[here] = count - 1
                self._wanted[topic] = self._any(topic)

    def _any(self, topic):
        for n in range(len(TOPICS[topic]) + 1):
            if self._subscribed[topic * _ROW + n]:
                return 1
        return 0

    def _named(self, name):
        """True for a command of this name."""
        return self.length > len(name) and self.body[0] == len(name) and self._begins(name, 1, len(name))

    def _is(self, at, n, word):
        return n == len(word) and at + n <= self.length and self._begins(word, at, n)

    def _begins(self, word, at, n):
        for i in range(n):
            if self.body[at + i] != word[i]:
                return False
        return True
