"""The real firmware on the simulated board: frames without a gap, energy that is the plant's."""

import bisect
import json
import shutil
import time

import pytest
from board_bench import RunningSim, wait_for

from epi_protocol import messages
from epi_protocol.frame import FrameDecoder, encode_command

pytestmark = pytest.mark.skipif(not shutil.which("micropython"), reason="no micropython on PATH")

CHANNELS = (
    "--channel",
    "0=const:3.5",
    "--channel",
    "1=steps:3x0.7,12x0.3",
    "--channel",
    "2=sine:7,2,3",
    "--channel",
    "3=const:25",
)
SECONDS = 5


class Listener:
    """Samples, the board's HELLO, and the tightest bound on the board's clock that pings gave."""

    def __init__(self, port):
        self.port, self.decoder = port, FrameDecoder()
        self.hello, self.samples, self.exchanges, self.sent = None, [], [], {}

    def listen(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.take(self.port.read(max(1, self.port.in_waiting)))
            if self.hello and len(self.sent) < 1000:
                self.ping()

    def take(self, data):
        now_ns = host_ns()
        for payload in self.decoder.feed(data):
            if payload[0] == messages.HELLO:
                self.hello = messages.parse_hello(payload)[1]
            elif payload[0] == messages.SAMPLE:
                self.samples.append(messages.parse_sample(payload))
            elif payload[0] == messages.PONG:
                pong = messages.parse_pong(payload)
                sent_ns = self.sent[bytes(pong["nonce"])]
                middle_us = (pong["recv_us"] + pong["send_us"]) // 2
                self.exchanges.append((now_ns - sent_ns, (sent_ns + now_ns) // 2 - middle_us * 1000))

    def ping(self):
        nonce = len(self.sent).to_bytes(4, "little")
        self.sent[nonce] = host_ns()
        self.port.write(encode_command(messages.pack_ping(nonce)))


def host_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with RunningSim(tmp_path_factory.mktemp("sim"), *CHANNELS) as sim, sim.open() as port:
        listener = Listener(port)
        wait_for(lambda: listener.listen(0.2) or (listener.samples and settled(listener.samples[-1])))
        listener.samples.clear()
        listener.listen(SECONDS)
        code, out, err = sim.stop()
        assert (code, err) == (0, "")
        yield listener, json.loads(sim.truth.read_text()), json.loads(out)


def settled(sample):
    return not any(channel["flags"] for channel in sample[1])


def test_every_frame_arrives(run):
    listener, _, end = run
    numbers = [head["seq"] for head, _ in listener.samples]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) > 10 * SECONDS
    assert end["boots"] == 1


def test_the_board_says_that_it_is_simulated(run):
    listener, truth, _ = run
    assert listener.hello["simulated"] is True and truth["simulated"] is True
    assert listener.hello["board_id"] == "53494d0000000000"


@pytest.mark.parametrize("channel", range(4))
def test_energy_is_what_flowed(run, channel):
    """To a tick at each end, the clock's bound, and the rounding of PLconst."""
    listener, truth, _ = run
    tick_j = listener.hello["channels"][channel]["energy_j_per_tick"]
    bound_ns, offset_ns = min(listener.exchanges)
    (first, first_channels), (last, last_channels) = listener.samples[0], listener.samples[-1]
    metered_j = (last_channels[channel]["forward"] - first_channels[channel]["forward"]) * tick_j
    true_j = flowed(truth, channel, last["board_us"] * 1000 + offset_ns) - flowed(
        truth, channel, first["board_us"] * 1000 + offset_ns
    )
    sweep_j = 0.06 * 25  # the registers are read some milliseconds after the sweep's start
    assert abs(metered_j - true_j) < 2 * tick_j + sweep_j + 2e-4 * true_j + 25 * bound_ns * 1e-9
    assert true_j > 3 * SECONDS * 0.8


def flowed(truth, channel, at_ns):
    times, joules = truth["series"]["host_ns"], truth["series"]["energy_j"][channel]
    after = bisect.bisect(times, at_ns)
    share = (at_ns - times[after - 1]) / (times[after] - times[after - 1])
    return joules[after - 1] + share * (joules[after] - joules[after - 1])


def test_power_and_mains_read_true(run):
    listener, _, _ = run
    scale = listener.hello["channels"][0]
    for _, channels in listener.samples:
        watts = messages.extended(channels[0]["p"], channels[0]["p_lsb"]) * scale["p_w"]
        assert watts == pytest.approx(3.5, rel=1e-3)
        assert channels[0]["u"] * scale["u_v"] == pytest.approx(230, abs=0.1)
        assert channels[0]["freq"] == 5000
        assert messages.sign_magnitude(channels[0]["pf"]) == pytest.approx(580, abs=2)
