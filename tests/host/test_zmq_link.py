"""`epid serve --zmq`: a publisher of libzmq in place of the board, and everything that may answer at its address instead."""

import asyncio
import socket
import threading
import time

import pytest
import zmq

from epi_protocol import frame, messages
from epid.daemon.board import BoardSession, ClockExchange, Hello, Sample
from epid.daemon.link import parse_tcp
from epid.daemon.zmq_link import ZmqLink
from epid.errors import LinkError
from fakes import board

PING_BYTES = messages.size_of(messages.PING_FIELDS)


class Publisher:
    """The board's frames from an XPUB socket, which shows what subscribers send; pings are answered."""

    def __init__(self, port=0):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join(5)
        self._socket.close()
        self._context.term()

    def _serve(self):
        commands, seq, zero_s = frame.CommandDecoder(), 0, time.monotonic()
        while not self._stop.is_set():
            while self._socket.poll(10):
                for byte in self._socket.recv():
                    if commands.feed(byte) == PING_BYTES:
                        now_us = round((time.monotonic() - zero_s) * 1e6)
                        self._publish(b"pong", board.pong(bytes(commands.payload[1:5]), now_us, now_us))
            if seq % 20 == 0:
                self._publish(b"hello", board.hello())
            self._publish(b"sample", board.sample(seq, round((time.monotonic() - zero_s) * 1e6), [5.0] * 4, [0.0] * 4))
            seq += 1

    def _publish(self, topic, payload):
        self._socket.send_multipart([topic, frame.encode(payload)])


@pytest.fixture
def publisher():
    opened = Publisher()
    yield opened
    opened.stop()


def follow(port, seconds, enough=lambda events: False):
    """What a session hears on a link for some seconds; like the daemon's loop."""

    async def run():
        link, session, events = ZmqLink(parse_tcp(f"tcp://127.0.0.1:{port}", zmq=True)), BoardSession(), []
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until and not enough(events):
                if await link.readable(0.02):
                    events += session.receive(link.read(), time.monotonic_ns())
                command = session.command_due(time.monotonic_ns())
                if command is not None:
                    link.write(command)
        finally:
            link.close()
        return events

    return asyncio.run(run())


def test_frames_come_and_pings_go_on_one_connection(publisher):
    events = follow(publisher.port, 20, lambda events: sum(isinstance(event, ClockExchange) for event in events) >= 5)
    assert isinstance(events[0], Hello)
    samples = [event for event in events if isinstance(event, Sample)]
    assert len(samples) > 10 and not any(sample.lost for sample in samples)
    assert sum(isinstance(event, ClockExchange) for event in events) >= 5


def test_a_publisher_that_goes_is_said_to_be_gone(publisher):
    threading.Timer(1.0, publisher._stop.set).start()
    stopper = threading.Thread(target=lambda: (publisher._thread.join(), publisher._socket.close()))
    stopper.start()
    with pytest.raises(LinkError, match=f"the meter on tcp://127.0.0.1:{publisher.port} is gone: the line was closed"):
        follow(publisher.port, 20)
    stopper.join()


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(LinkError, match=f"no meter answers at tcp://127.0.0.1:{port}"):
        follow(port, 20)


def test_something_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(LinkError, match="nothing came in 3 s"):
        follow(silent.getsockname()[1], 20)


@pytest.mark.parametrize("kind", [zmq.ROUTER, zmq.PULL])
def test_a_zeromq_socket_that_is_no_publisher(kind):
    with zmq.Context() as context, context.socket(kind) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(LinkError, match=r"no ZeroMQ publisher answers|no meter answers"):
            follow(port, 20)


def test_something_that_speaks_no_zeromq():
    def greet(server):
        client, _address = server.accept()
        with client:
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
            time.sleep(0.5)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=greet, args=(server,), daemon=True).start()
        with pytest.raises(LinkError, match=r"no ZeroMQ publisher answers|no meter answers"):
            follow(server.getsockname()[1], 20)
