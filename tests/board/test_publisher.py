"""The publisher on sockets without a network: who gets what, who is dropped, and that nobody waits for anybody."""

from bench import Clock
from expect import equal
from subscriber import SUB_READY, command, greeting, message

from epi_firmware import publisher as publishing
from epi_firmware import zmtp
from epi_protocol.frame import FRAME_OVERHEAD, MAX_PAYLOAD, encode

SAMPLE = encode(b"\x02" + b"s" * 50)
HELLO = encode(b"\x01" + b"h" * 1200)


class Socket:
    """One end of a connection: `incoming` is what the client sends, `outgoing` what it gets, `room` what it takes, -1 no end."""

    def __init__(self):
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.room = -1
        self.open = True
        self.broken = False

    def setblocking(self, blocking):
        assert not blocking

    def setsockopt(self, level, option, value):
        equal((level, option, value), (6, 1, 1))

    def readinto(self, buf):
        if self.broken:
            raise OSError(104)
        n = min(len(self.incoming), len(buf))
        buf[:n] = self.incoming[:n]
        self.incoming = self.incoming[n:]
        return n

    def write(self, buf, start, n):
        if self.broken:
            raise OSError(32)
        if self.room == 0:
            return None
        n = n if self.room < 0 else min(n, self.room)
        self.outgoing.extend(buf[start : start + n])
        return n

    def close(self):
        self.open = False


class Network:
    """Listener and poll in one; `clients` wait to be accepted."""

    def __init__(self):
        self.clients = []
        self.registered = []

    def accept(self):
        return self.clients.pop(0), ("127.0.0.1", 1)

    def register(self, socket, _events):
        self.registered.append(socket)

    def unregister(self, socket):
        self.registered.remove(socket)

    def ipoll(self, _timeout_ms):
        if self.clients:
            yield self, 1
        for socket in self.registered:
            if socket is not self and (socket.incoming or socket.broken):
                yield socket, 1


class Bench:
    def __init__(self):
        self.clock, self.network, self.said = Clock(), Network(), []
        self.publisher = publishing.Publisher(self.network, self.network, self.clock)
        self.publisher.log = lambda level, text: self.said.append(text)

    def connect(self, data=b""):
        socket = Socket()
        self.network.clients.append(socket)
        self.turn()
        socket.incoming.extend(data)
        self.turn(10)
        return socket

    def subscriber(self, *topics):
        socket = self.connect(greeting() + SUB_READY + b"".join([message(b"\x01" + topic) for topic in topics]))
        equal(bytes(socket.outgoing), zmtp.GREETING + zmtp.READY)
        socket.outgoing = bytearray()
        return socket

    def turn(self, times=1):
        for _ in range(times):
            self.publisher.readable(0)

    def publish(self, frame):
        equal(self.publisher.write(frame, 0, len(frame)), len(frame))

    def commands(self):
        taken = b""
        while self.publisher.readable(0):
            taken += bytes([self.publisher.read_byte()])
        return taken


def test_a_frame_goes_out_behind_its_topic():
    bench = Bench()
    short, long = bench.subscriber(b"sample"), bench.subscriber(b"hello")
    bench.publish(SAMPLE)
    bench.publish(HELLO)
    equal(bytes(short.outgoing), b"\x01\x06sample\x00" + bytes([len(SAMPLE)]) + SAMPLE)
    equal(bytes(long.outgoing), b"\x01\x05hello\x02" + bytes([0] * 6 + [len(HELLO) >> 8, len(HELLO) & 255]) + HELLO)
    equal(bench.publisher.subscribers(), 2)


def test_every_length_of_a_frame_is_framed_right():
    bench = Bench()
    socket = bench.subscriber(b"")
    for n in (1, 246, 247, 248, 249, 250, 300, 1, MAX_PAYLOAD):
        frame = encode(b"\x04" + b"l" * (n - 1))
        socket.outgoing = bytearray()
        bench.publish(frame)
        head = bytes([0, len(frame)]) if len(frame) < 256 else b"\x02" + len(frame).to_bytes(8, "big")
        equal(bytes(socket.outgoing), b"\x01\x03log" + head + frame)
    assert len(frame) <= bench.publisher.chunk and len(frame) > MAX_PAYLOAD + FRAME_OVERHEAD


def test_a_subscriber_that_does_not_take_a_message_whole_is_dropped_and_the_others_are_not():
    for room in (0, 1, 60):
        bench = Bench()
        good, slow, other = bench.subscriber(b""), bench.subscriber(b""), bench.subscriber(b"")
        slow.room = room
        for _ in range(3):
            bench.publish(SAMPLE)
        assert not slow.open and good.open and other.open
        equal((len(good.outgoing), bench.publisher.slow, bench.publisher.subscribers()), (len(other.outgoing), 1, 2))
        equal(bench.said, ["a subscriber did not read and was dropped, 1 since boot"])
        bench.subscriber(b"")
        equal(bench.publisher.subscribers(), 3)


def test_subscribers_that_leave_make_room():
    bench = Bench()
    for _ in range(3 * publishing.MAX_CLIENTS):
        leaving, broken = bench.subscriber(b""), bench.subscriber(b"")
        broken.broken = True
        bench.publish(SAMPLE)
        leaving.broken = True
        bench.turn(2)
        assert not leaving.open and not broken.open
    equal((bench.publisher.slow, bench.publisher.refused, bench.said), (0, 0, []))
    equal(len(bench.network.registered), 1)


def test_garbage_is_turned_away_without_a_word_to_the_others():
    bench = Bench()
    good = bench.subscriber(b"")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, greeting() + b"\x04\x05nonsense", b"\xff" * 13):
        client = bench.connect(garbage)
        assert not client.open
    bench.publish(SAMPLE)
    assert good.open and len(good.outgoing) > len(SAMPLE)
    equal(bench.publisher.refused, 4)
    equal(bench.said[-1], "a client that is no subscriber was turned away, 4 since boot")


def test_a_client_that_says_nothing_loses_its_place():
    bench = Bench()
    silent = [bench.connect() for _ in range(publishing.MAX_CLIENTS)]
    late = Socket()
    bench.network.clients.append(late)
    bench.turn()
    assert not late.open and bench.publisher.refused == 1
    bench.clock.sleep_us(4_000_000)
    bench.publish(SAMPLE)
    assert all(socket.open for socket in silent)
    bench.clock.sleep_us(2_000_000)
    bench.publish(SAMPLE)
    assert not any(socket.open for socket in silent)
    bench.subscriber(b"sample")


def test_commands_of_several_hosts_do_not_mix():
    bench = Bench()
    one, two = bench.subscriber(b""), bench.subscriber(b"")
    first, second = message(b"\nAAAAAAAAAAAAAAAAAA\n"), message(b"\nPPPPPPPPPPPPPPPPPP\n")
    taken = b""
    for i in range(len(first)):
        one.incoming.append(first[i])
        two.incoming.append(second[i])
        bench.turn(2)
        taken += bench.commands()
    assert taken in (first[2:] + second[2:], second[2:] + first[2:])
    one.incoming.extend(first * 30)
    taken = b""
    for _ in range(40):
        taken += bench.commands()
    equal(taken, first[2:] * 30)


def test_the_longest_message_behind_a_nearly_complete_one_finds_room():
    bench = Bench()
    socket = bench.subscriber(b"")
    body = b"\n" + b"A" * 254
    socket.incoming.extend(message(body) + message(b"\nB") * 12)
    taken = b""
    for _ in range(12):
        taken += bench.commands()
    equal(taken, body + b"\nB" * 12)


def test_a_heartbeat_is_answered_on_the_same_connection_alone():
    bench = Bench()
    one, two = bench.subscriber(b""), bench.subscriber(b"")
    one.incoming.extend(command(b"PING", b"\x00\x64ctx"))
    bench.turn()
    equal((bytes(one.outgoing), bytes(two.outgoing)), (command(b"PONG", b"ctx"), b""))
