"""Measuring windows against a running daemon: joules of a load that is known, nested, overlapping, and what can go wrong."""

import math
import time

import pytest

import epid
from epi_protocol import messages
from epid.client import measured
from epid.daemon.board import BoardSession, Sample
from epid.daemon.pinger import Pinger
from epid.daemon.windows import LEASE_NS, PATIENCE_NS, Windows
from epid.errors import EpidError, UsageError
from fakes import board
from fakes.epid_serve import PATIENCE_S


@pytest.fixture
def client(daemon):
    with epid.Client(meter="pi0", endpoint=daemon.endpoint) as opened:
        yield opened


def wait_for_clock(daemon):
    until = time.monotonic() + PATIENCE_S
    while (bound := daemon.status()["boards"][0]["clock_bound_us"]) is None or bound > 10_000:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_windows_nest_overlap_and_hold_the_joules_of_the_load(daemon, client):
    wait_for_clock(daemon)
    client.begin_window("all")
    client.begin_window("first")
    time.sleep(0.8)
    client.begin_window("second")
    time.sleep(0.4)
    first = client.end_window("first")
    time.sleep(0.4)
    second, whole = client.end_window("second"), client.end_window("all")
    for found in (first, second, whole):
        low_j, high_j = found.interval
        assert low_j <= 6.0 * found.seconds <= high_j
        assert found.within_j < 2.0 and found.simulated and not found.fault
    assert whole.seconds > first.seconds > 1.19
    assert "J (simulated) in" in str(first) and "meter not calibrated" in str(first)


def test_a_block_a_channel_by_its_number_and_a_window_shorter_than_a_sweep(daemon, client):
    wait_for_clock(daemon)
    with client.window("block") as found:
        assert found == []
    assert abs(found[0].joules) <= found[0].within_j + 6.0 * found[0].seconds
    with epid.Client(meter="e660123456789abc:1", endpoint=daemon.endpoint) as other:
        other.begin_window("w")
        time.sleep(0.6)
        counted = other.end_window("w")
    assert counted.channel == 1 and counted.watts == pytest.approx(5.0, abs=1.5)


def test_what_cannot_be_measured_is_one_sentence(daemon, client):
    client.begin_window("a")
    with pytest.raises(UsageError, match="'a' is open already"):
        client.begin_window("a")
    with pytest.raises(UsageError, match="no open window 'b'; open are: a"):
        client.end_window("b")
    stranger = epid.Client(meter="pi9", endpoint=daemon.endpoint)
    with stranger, pytest.raises(EpidError, match=r"'pi9' is no metered node \(known: pi0\)"):
        stranger.begin_window("w")
    lonely = epid.Client(meter="pi0", endpoint="tcp://127.0.0.1:9", timeout_s=0.2)
    with lonely, pytest.raises(EpidError, match="no daemon answers"):
        lonely.begin_window("w")


S = 1_000_000_000


class Bench:
    """Windows over a board session that is fed by hand; the board's clock is the host's."""

    def __init__(self):
        self.board = BoardSession(Pinger(4))
        self.board.receive(board.on_the_wire([board.hello()]), 0)
        self.windows = Windows(lambda: [self.board], {"pi0": "0"})
        for k in range(20):
            nonce = self.board.pinger.due(k * S)
            self.board.pinger.answer(nonce, k * S + 50_000, k * S + 60_000, k * S + 110_000)

    def begin(self, at_s, window="w"):
        body = {"protocol": 2, "window": window, "name": "n", "meter": "pi0"}
        return self.windows.begin(b"client", body, int(at_s * S))

    def end(self, at_s, window="w"):
        self.windows.end(b"client", {"window": window}, int(at_s * S))

    def feed(self, from_s, to_s, **fields):
        for k in range(int(from_s * 20), int(to_s * 20)):
            payload = board.sample(k, k * 50_000, [6.0, 0, 0, 0], [k * 0.3, 0, 0, 0], **fields)
            self.windows.sample(self.board, Sample(payload, *messages.parse_sample(payload), 0))

    def answer(self, now_s):
        return [measured(answer) for _client, answer in self.windows.done(int(now_s * S))]


def test_joules_are_those_between_the_edges_and_the_answer_waits_for_the_meter():
    bench = Bench()
    bench.feed(0, 10)
    bench.begin(10.02)
    bench.feed(10, 20)
    bench.end(20.07)
    assert bench.answer(20.07) == []
    bench.feed(20, 20.15)
    (found,) = bench.answer(20.2)
    assert found.seconds == pytest.approx(10.05)
    assert abs(found.joules - 60.3) <= found.within_j < 0.5


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"boot_id": b"\7\7\7\7"}, "restarted inside it"),
        ({"flags": messages.flag("REINIT")}, "lost an energy reading inside it"),
        ({"unknown": 3}, "lost an energy reading inside it"),
    ],
)
def test_what_happened_to_the_meter_inside_a_window_leaves_no_number(fields, sentence):
    bench = Bench()
    bench.feed(0, 10)
    bench.begin(10.02)
    bench.feed(10, 12)
    bench.feed(12, 12.1, **fields)
    bench.end(13)
    (found,) = bench.answer(13.1)
    assert math.isnan(found.joules) and sentence in found.fault and "no energy" in str(found)


def test_what_happened_before_a_window_is_no_fault_of_it():
    bench = Bench()
    bench.feed(0, 9.9)
    bench.feed(9.9, 9.95, flags=messages.flag("REINIT"))
    bench.feed(9.95, 10)
    bench.begin(10.02)
    bench.feed(10, 12)
    bench.end(11.5)
    (found,) = bench.answer(12)
    assert not found.fault


def test_a_meter_that_falls_silent_is_waited_for_so_long_and_no_longer():
    bench = Bench()
    bench.feed(0, 10)
    bench.begin(10.02)
    bench.feed(10, 12)
    bench.end(15)
    assert bench.answer(15.1) == []
    (found,) = bench.answer(15.2 + PATIENCE_NS / S)
    assert found.fault == "the meter's readings do not cover it"


def test_windows_of_clients_that_are_gone_do_not_pile_up():
    bench = Bench()
    bench.feed(0, 1)
    for k in range(1000):
        bench.begin(1, window=str(k))
    with pytest.raises(UsageError, match="1000 measuring windows are open already"):
        bench.begin(2, window="one more")
    bench.begin(2 + LEASE_NS / S, window="a day later")
