"""libzmq on the board's publisher: main.py under a real MicroPython, its Wi-Fi on loopback."""

import asyncio
import json
import os
import socket
import time

import pytest
import zmq
from booted import of_kind
from zmq.utils.monitor import recv_monitor_message

from epi_protocol import messages as m
from epi_protocol.frame import FrameDecoder, encode_command
from epid.daemon.board import BoardSession
from epid.daemon.link import parse_tcp
from epid.daemon.zmq_link import ZmqLink

GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03%cNULL" + b"\0" * 48
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB"


class Meter:
    """A booted board with a radio; makes libzmq sockets and plain connections to it."""

    def __init__(self, board, port):
        self.board, self.port = board, port
        self.seen = board.until(bool)
        self._context = zmq.Context()
        self._sockets = []

    def subscriber(self, *topics, kind=zmq.SUB, monitor=False, **options):
        opened = self._context.socket(kind)
        self._sockets.append(opened)
        for option, value in {"LINGER": 0, "RCVTIMEO": 10_000, **options}.items():
            opened.setsockopt(getattr(zmq, option), value)
        events = opened.get_monitor_socket() if monitor else None
        opened.connect(f"tcp://127.0.0.1:{self.port}")
        for topic in topics:
            opened.send(b"\x01" + topic) if kind == zmq.XSUB else opened.subscribe(topic)
        return (opened, events) if monitor else opened

    def client(self, data=b""):
        opened = socket.create_connection(("127.0.0.1", self.port), 10)
        self._sockets.append(opened)
        opened.sendall(data)
        return opened

    def close(self):
        for opened in self._sockets:
            opened.close()
        self._context.term()


@pytest.fixture
def meter(boot, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wifi = {"ssid": "home", "password": "secret-word", "port": port}
    (tmp_path / "config.json").write_text(json.dumps({"wifi": wifi, "sample_hz": 40}))
    opened = Meter(boot(radio=True), port)
    yield opened
    opened.close()


def payloads_of(subscriber, count):
    """Receive `count` messages; return [(topic, payload)]. A part that is not exactly one frame is an error."""
    received = []
    for _ in range(count):
        topic, frame = subscriber.recv_multipart()
        decoder = FrameDecoder()
        (payload,) = decoder.feed(frame)
        assert (decoder.damaged, decoder.garbage_bytes) == (0, 0)
        received.append((topic, payload))
    return received


def numbers_of(received):
    return [m.parse_sample(payload)[0]["seq"] for _topic, payload in received]


def assert_gapless(numbers):
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_several_subscribers_get_every_sweep_each_what_it_asked_for(meter):
    everything, samples, words = meter.subscriber(b""), meter.subscriber(b"sample"), meter.subscriber(b"hel", b"log")
    received = payloads_of(everything, 130)
    assert {topic for topic, _payload in received} == {b"hello", b"sample", b"log"}  # four chips are missing, and it says so
    assert all(payload[0] == {b"hello": m.HELLO, b"sample": m.SAMPLE, b"log": m.LOG}[topic] for topic, payload in received)
    assert_gapless(numbers_of([each for each in received if each[0] == b"sample"]))
    assert_gapless(numbers_of(payloads_of(samples, 100)))
    assert {topic for topic, _payload in payloads_of(words, 6)} == {b"hello", b"log"}
    assert m.parse_hello(received[[topic for topic, _p in received].index(b"hello")][1])[1]["sample_hz"] == 40


def test_a_subscription_can_be_cancelled_and_made_again(meter):
    subscriber = meter.subscriber(b"sample")
    before = numbers_of(payloads_of(subscriber, 5))[-1]
    subscriber.unsubscribe(b"sample")
    subscriber.subscribe(b"hello")
    while subscriber.recv_multipart()[0] == b"sample":
        pass
    assert payloads_of(subscriber, 1)[0][0] == b"hello"
    subscriber.subscribe(b"sample")
    while (received := payloads_of(subscriber, 1)[0])[0] != b"sample":
        pass
    assert numbers_of([received])[0] > before + 20


def test_the_handshake_succeeds_and_heartbeats_keep_it_alive(meter):
    # Subscribed to nothing: all that comes are PONGs.
    subscriber, monitor = meter.subscriber(monitor=True, HEARTBEAT_IVL=100, HEARTBEAT_TIMEOUT=400)
    events, deadline = [], time.monotonic() + 2
    while time.monotonic() < deadline:
        if monitor.poll(100):
            events.append(recv_monitor_message(monitor)["event"])
    subscriber.disable_monitor()
    assert events.count(zmq.EVENT_HANDSHAKE_SUCCEEDED) == 1
    assert zmq.EVENT_DISCONNECTED not in events


def test_pings_reach_the_board_and_pongs_come_back_quickly(meter):
    host, watcher = meter.subscriber(b"pong", kind=zmq.XSUB), meter.subscriber(b"pong")
    trips = []
    for number in range(40):
        nonce = number.to_bytes(4, "little")
        sent_s = time.monotonic()
        host.send(encode_command(m.pack_ping(nonce)))
        while True:
            ((topic, payload),) = payloads_of(host, 1)
            if m.parse_pong(payload)["nonce"] == nonce:
                break
        trips.append(time.monotonic() - sent_s)
        assert topic == b"pong" and m.parse_pong(payload)["recv_us"] <= m.parse_pong(payload)["send_us"]
    assert sorted(trips)[len(trips) // 2] < 0.03, "Nagle's algorithm would make it 40 ms"
    assert len(payloads_of(watcher, 30)) == 30


def test_the_prompt_is_not_to_be_had_over_the_network_but_on_the_serial_line(meter):
    host = meter.subscriber(b"", kind=zmq.XSUB)
    payloads_of(host, 5)
    host.send(encode_command(m.pack_repl()))
    assert_gapless(numbers_of([each for each in payloads_of(host, 60) if each[0] == b"sample"]))
    meter.board.send(encode_command(m.pack_repl()))
    assert meter.board.process.wait(10) == 0


def test_the_serial_line_says_hello_where_the_frames_are_and_one_sample_a_second(meter):
    seen = meter.seen + meter.board.until(lambda payloads: len(of_kind(payloads, m.SAMPLE)) >= 2)
    numbers = [m.parse_sample(payload)[0]["seq"] for payload in of_kind(seen, m.SAMPLE)]
    assert numbers == [0, 40, 80][: len(numbers)] and len(of_kind(seen, m.HELLO)) >= len(numbers)
    texts = [m.parse_log(payload)[1] for payload in of_kind(seen, m.LOG)]
    assert f"Wi-Fi home: joined; frames are on tcp://127.0.0.1:{meter.port}" in texts


def test_garbage_clients_are_hung_up_on_and_disturb_nobody(meter):
    subscriber = meter.subscriber(b"sample")
    first = numbers_of(payloads_of(subscriber, 5))
    for garbage in (b"GET / HTTP/1.1\r\nHost: meter\r\n\r\n", os.urandom(5000), GREETING % 1 + os.urandom(2000), b"\xff" * 100):
        client = meter.client(garbage)
        with pytest.raises(ConnectionError):
            while client.recv(4096):
                pass
            raise ConnectionResetError  # closed in order
    meter.client().close()
    assert_gapless(first + numbers_of(payloads_of(subscriber, 60)))
    other = meter.subscriber(b"sample")
    assert_gapless(numbers_of(payloads_of(other, 10)))


@pytest.mark.parametrize("minor", [0, 1])
def test_both_versions_of_the_protocol_byte_by_byte(meter, minor):
    """A peer that shows every byte on its own; 3.0 subscribes by message, 3.1 by command."""
    client = meter.client()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    subscribe = b"\x04\x10\x09SUBSCRIBEsample" if minor else b"\0\x07\x01sample"
    for byte in GREETING % minor + READY + subscribe + b"\x04\x0a\x04PING\0\x64abc":
        client.sendall(bytes([byte]))
    stream = client.makefile("rb")
    assert stream.read(64)[:12] == b"\xff" + b"\0" * 8 + b"\x7f\x03\x01"
    assert stream.read(27) == b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB"
    seen = stream.read(2000)
    assert b"\x04\x08\x04PONGabc" in seen and b"\x01\x06sample\x00\xdd\x00" in seen and b"hello" not in seen


def test_a_subscriber_that_does_not_read_is_dropped_said_and_may_come_back(meter):
    good = meter.subscriber(b"sample")
    first = numbers_of(payloads_of(good, 1))
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    slow.connect(("127.0.0.1", meter.port))
    slow.sendall(GREETING % 1 + READY + b"\0\1\1")
    said = "a subscriber did not read and was dropped, 1 since boot"
    meter.board.until(lambda payloads: said in [m.parse_log(payload)[1] for payload in of_kind(payloads, m.LOG)], timeout_s=60)
    slow.close()
    assert_gapless(first + numbers_of(payloads_of(good, 100)))
    assert payloads_of(meter.subscriber(b"sample"), 3)


def test_the_daemons_own_link_measures_the_clock_of_the_board(meter):
    """What `epid serve --zmq` does: frames and pings on one connection, and the board's clock known from them."""

    async def follow():
        link, session = ZmqLink(parse_tcp(f"tcp://127.0.0.1:{meter.port}", zmq=True)), BoardSession()
        until = time.monotonic() + 20
        while len(session.pinger.clock.exchanges) < 8 or session.samples < 50:
            assert time.monotonic() < until
            if await link.readable(0.02):
                session.receive(link.read(), time.monotonic_ns())
            command = session.command_due(time.monotonic_ns())
            if command is not None:
                link.write(command)
        link.close()
        return session

    session = asyncio.run(follow())
    assert (session.lost, session.refused, session.decoder.damaged) == (0, 0, 0)
    assert session.board_id == "e6610003" and session.pinger.bound_ns() < 20e6
