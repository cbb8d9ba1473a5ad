"""A ZeroMQ PUB socket as the line to the host: every frame goes to every subscriber at once, or not at all.

Nothing waits for anybody. A message is built once, in one buffer, and written whole; who cannot take it whole is dropped,
counted, and free to come back. The host's commands are messages that a subscriber sends (an XSUB socket can).
"""

import struct

from epi_protocol.frame import FRAME_OVERHEAD, MAX_PAYLOAD

from . import zmtp
from .registers import const

MAX_CLIENTS = const(6)

_POLLIN = const(1)
_TCP, _NO_DELAY = const(6), const(1)
_HANDSHAKE_US = const(5_000_000)
_SCRATCH = const(64)
_INBOX = const(_SCRATCH + 256)  # what one reading can complete, and a message that was nearly complete before
_HEAD_BYTES = const(17)  # longest topic with its flags and length, then flags with eight bytes of length
_WARNING = const(1)
_MAX_FRAME = MAX_PAYLOAD + FRAME_OVERHEAD + MAX_PAYLOAD // 254 + 1


class Client:
    """One connection: its socket, what was said on it, and since when it is there."""

    def __init__(self, socket, since):
        self.socket = socket
        self.peer = zmtp.Peer()
        self.since = since


class Publisher:
    """Has the methods of `serial_port.SerialPort`; a write takes a whole frame.

    `listener` is a TCP socket that listens without blocking, `poll` a fresh select.poll. `slow` counts subscribers dropped
    because they did not take a message whole, `refused` clients that were none or came when there was no room. `log` takes a
    sentence for a person. Only clients that come or go allocate, and a log sentence, whose length changes.
    """

    chunk = _MAX_FRAME

    def __init__(self, listener, poll, clock):
        self.slow = self.refused = 0
        self.log = _say_nothing
        self._listener = listener
        self._poll = poll
        self._clock = clock
        self._clients = [None] * MAX_CLIENTS
        self._scratch = bytearray(_SCRATCH)
        self._inbox = bytearray(_INBOX)
        self._inbox_length = self._inbox_at = 0
        self._message = bytearray(_HEAD_BYTES + _MAX_FRAME)
        self._lengths = [0] * len(zmtp.TOPICS)
        self._formats = [""] * len(zmtp.TOPICS)
        poll.register(listener, _POLLIN)

    def readable(self, timeout_ms):
        """True when a command's bytes wait. Serves one socket on which something has happened."""
        if self._inbox_at < self._inbox_length:
            return True
        for ready in self._poll.ipoll(timeout_ms):
            self._serve(ready[0])
            break
        return self._inbox_at < self._inbox_length

    def read_byte(self):
        """The next byte of a command."""
        byte = self._inbox[self._inbox_at]
        self._inbox_at += 1
        if self._inbox_at == self._inbox_length:
            self._inbox_at = self._inbox_length = 0
        return byte

    def writable(self):
        """A publisher always takes a frame."""
        return True

    def write(self, frame, _start, n):
        """Publish a frame of `n` bytes to those who want its kind; return `n`."""
        topic = frame[2] - 1  # behind 00 and the first code of COBS stands the message's type
        length = 0
        for client in self._clients:
            if client is None:
                continue
            if not client.peer.ready:
                self._check_handshake(client)
            elif client.peer.wants(topic):
                length = length or self._build(topic, frame, n)
                self._send(client, self._message, length)
        return n

    def subscribers(self):
        """How many clients have done their handshake."""
        return sum([client is not None and client.peer.ready for client in self._clients])

    def _build(self, topic, frame, n):
        """Two parts: the topic, and the frame as it would stand on a serial line."""
        message, word = self._message, zmtp.TOPICS[topic]
        message[0], message[1] = zmtp.MORE, len(word)
        for i in range(len(word)):
            message[2 + i] = word[i]
        at = 2 + len(word)
        if n < 256:
            message[at], message[at + 1] = 0, n
            at += 2
        else:
            struct.pack_into(">BQ", message, at, zmtp.LONG, n)
            at += 9
        if self._lengths[topic] != n:
            self._lengths[topic] = n
            self._formats[topic] = "%ds" % n
        struct.pack_into(self._formats[topic], message, at, frame)
        return at + n

    def _send(self, client, data, n):
        try:
            sent = client.socket.write(data, 0, n)
        except OSError:
            self._drop(client)  # it has gone
            return
        if sent != n:
            self._drop(client)
            self.slow += 1
            self.log(_WARNING, "a subscriber did not read and was dropped, %d since boot" % self.slow)

    def _serve(self, socket):
        if socket is self._listener:
            self._accept()
            return
        for client in self._clients:
            if client is not None and client.socket is socket:
                self._read(client)

    def _accept(self):
        try:
            socket = self._listener.accept()[0]
        except OSError:
            return  # it has gone again
        if None not in self._clients:
            socket.close()
            self._count_refused()
            return
        socket.setblocking(False)
        # Else a PONG behind a SAMPLE waits until the host has acknowledged the SAMPLE, which it does after 40 ms.
        socket.setsockopt(_TCP, _NO_DELAY, 1)
        client = Client(socket, self._clock.ticks_us())
        self._clients[self._clients.index(None)] = client
        self._poll.register(socket, _POLLIN)
        self._send(client, zmtp.GREETING, len(zmtp.GREETING))

    def _read(self, client):
        try:
            count = client.socket.readinto(self._scratch)
        except OSError:
            count = 0
        if count == 0:
            self._drop(client)
        for i in range(count or 0):
            event = client.peer.feed(self._scratch[i])
            if event != zmtp.NOTHING and not self._handle(client, event):
                return

    def _handle(self, client, event):
        """Do what a completed frame of a client asks for; return False when nothing more is heard from it."""
        peer = client.peer
        if event == zmtp.COMMAND:
            self._keep(peer)
        elif event == zmtp.GREETED:
            self._send(client, zmtp.READY, len(zmtp.READY))
        elif event == zmtp.PING:
            self._send(client, peer.reply, peer.reply_length)
        else:
            self._drop(client)
            self._count_refused()
        return client.socket is not None

    def _keep(self, peer):
        for i in range(peer.length):
            self._inbox[self._inbox_length + i] = peer.body[i]
        self._inbox_length += peer.length

    def _check_handshake(self, client):
        if self._clock.ticks_diff(self._clock.ticks_us(), client.since) > _HANDSHAKE_US:
            self._drop(client)
            self._count_refused()

    def _count_refused(self):
        self.refused += 1
        if self.refused & self.refused - 1 == 0:  # a port scanner must not fill the log: 1, 2, 4, 8…
            self.log(_WARNING, "a client that is no subscriber was turned away, %d since boot" % self.refused)

    def _drop(self, client):
        if client.socket is None:
            return
        self._poll.unregister(client.socket)
        client.socket.close()
        client.socket = None
        self._clients[self._clients.index(client)] = None


def _say_nothing(_level, _text):
    pass
