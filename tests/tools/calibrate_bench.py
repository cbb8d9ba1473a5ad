"""A bench in virtual time: the real firmware in CPython on four chip models, a person who changes loads, a true reference."""

import json
import sys
from dataclasses import replace
from pathlib import Path

from epi_protocol import messages
from epi_protocol.frame import FrameDecoder
from epi_tools.calibrate.bench import check_complaints, parse_survey
from epi_tools.calibrate.plan import GAIN, OFFSETS, PHASE, Plan
from epi_tools.calibrate.readings import sweep_of
from epi_tools.calibrate.reference import Given, read_reference
from epi_tools.chip import PI_SENSORS, Circuit, Imperfections, Load
from epi_tools.chip.analog import PULSE_HZ_PER_RAW
from epi_tools.plant import Constant
from epi_tools.sim.virtual import VirtualBoard

FIRMWARE = str(Path(__file__).parents[2] / "firmware")
if FIRMWARE not in sys.path:
    sys.path.insert(0, FIRMWARE)

from epi_firmware import blocks, config, description  # noqa: E402
from epi_firmware.app import Meter  # noqa: E402

VOLTS, WATTS = 230.1, 25.0
NOISY = Imperfections(crystal_ppm=30.0, noise_w=0.005, noise_v=0.02, noise_a=2e-4)
UNITY, LAGGING = Load(0.0, 1.0), Load(60.0, 1.0)
CONFIG = '{"sample_hz":4,"settle_ms":500}'
OPEN_A = 1e-9  # what is left of the current's way into the chip when the circuit is open


class Line:
    """The serial line to a host that always reads."""

    chunk = 64

    def __init__(self, clock):
        self.outgoing, self._clock = bytearray(), clock

    def readable(self, timeout_ms):
        self._clock.sleep_ms(20 * timeout_ms)  # a lazy loop: fewer turns per virtual second, the same sweeps
        return False

    def read_byte(self):
        raise AssertionError("nobody sends")

    def writable(self):
        return True

    def write(self, buf, start, n):
        self.outgoing += buf[start : start + n]
        return n


class VirtualBench:
    """`bench.Bench` in virtual time. `hidden` are the sensors of channel 0 as they truly are; `text` is config.json.

    `before_sweep(seconds since the start)` may do what a clumsy person does. `stores` counts writes of config.json. `every`:
    one sweep in so many arrives, as on the USB line of a board whose samples go to a network.
    """

    def __init__(self, hidden=PI_SENSORS, watts=(WATTS, 0.0, 0.0, 0.0), text=CONFIG, flaws=NOISY, hz=50.0, every=1):
        self._every = every
        self.hidden, self.text, self.stores, self.logs = hidden, text, 0, []
        mains = replace(Circuit().mains, volts=VOLTS, hz=hz)
        circuits = [Circuit(hidden if at == 0 else PI_SENSORS, UNITY, mains, flaws) for at in range(4)]
        self.board = VirtualBoard([Constant(p_w) for p_w in watts], circuits)
        self.before_sweep = lambda _s: None
        self._boots = 0
        self._boot()

    def connect(self, load):
        """Put a load of this shape on channel 0; None opens its current circuit."""
        sensors = self.hidden if load else replace(self.hidden, current_mv_per_a=OPEN_A)
        self.board.chips[0].change(sensors=sensors, load=load or UNITY)

    def sweeps(self):
        decoder = FrameDecoder()
        self._line.outgoing.clear()
        while True:
            self.before_sweep(self.board.clock.now_ns * 1e-9)
            self._meter.turn()
            data = bytes(self._line.outgoing)
            self._line.outgoing.clear()
            for payload in decoder.feed(data):
                if payload[0] == messages.LOG:
                    self.logs.append(messages.parse_log(payload)[1])
                elif payload[0] == messages.SAMPLE and payload[5] % self._every == 0:
                    yield sweep_of(payload, self.description["channels"])

    def config(self):
        found = self._survey(self.text)
        self._boot()
        return found

    def store(self, text, checked=True):
        after = self._survey(text)
        if checked:
            check_complaints(self._survey(self.text), after)
        self.text = text
        self.stores += 1
        self._boot()
        return after

    def registers(self, channel=0):
        """Calibration as the chip holds it."""
        return self._survey(self.text).channels[channel].registers

    def _survey(self, text):
        settings, complaints = config.checked(json.loads(text))
        channels = [[c, blocks.metering_block(c), blocks.measurement_block(c)] for c in settings["channels"]]
        return parse_survey(text, json.dumps([complaints, channels]))

    def _boot(self):
        settings, _ = config.checked(json.loads(self.text))
        self._boots += 1
        boot_id = self._boots.to_bytes(4, "little")
        hello = description.hello_payload(boot_id, "e661", "1.28.0", "model", True, settings)
        self.description = messages.parse_hello(hello)[1]
        self._line, self.logs = Line(self.board.clock), []
        board = self.board
        self._meter = Meter(board.spi(), board.cs_pins(), self._line, board.clock, settings, boot_id, hello)


class Helper:
    """`person.Person` that changes the loads of a VirtualBench and reads a reference of five digits."""

    def __init__(self, bench, steps=(OFFSETS, GAIN, PHASE), watts=WATTS, volts=VOLTS):
        self.bench, self.steps, self.watts, self.volts = bench, steps, watts, volts
        self.prepared, self.said = [], []

    def can(self, step):
        return step not in (OFFSETS, GAIN, PHASE) or step in self.steps

    def agrees(self, question):
        self.said.append(question)
        return True

    def say(self, text):
        self.said.append(text)

    def progress(self, label, done_s, total_s):
        assert 0 <= done_s <= total_s + 1

    def prepare(self, step, again):
        self.prepared.append((step, again))
        self.bench.connect({OFFSETS: None, GAIN: UNITY, PHASE: LAGGING}[step])
        if step == OFFSETS:
            return None
        return read_reference(Given(f"{self.watts:.6f}", f"{self.volts:.2f}", "1" if step == GAIN else "0.5"))


def plan(**changes):
    """A plan for channel 0 with the tolerances of the command."""
    return Plan(
        **{"channel": 0, "steps": (OFFSETS, GAIN, PHASE), "seconds": None, "tolerance": 1e-3}
        | {"phase_tolerance_deg": 0.1, "utc": "2026-01-02"}
        | changes
    )


def true_energy_error(bench, load):
    """Relative error of the energy that chip 0 counts of `load` now, in closed form: no noise, no ticks, no time."""
    bench.connect(load)
    chip = bench.board.chips[0]
    pulse_hz_per_w = PULSE_HZ_PER_RAW * chip._inputs.p_raw_per_w / (chip._values[0x21] << 16 | chip._values[0x22])
    joules_per_pulse = 3.6e6 / bench.config().channels[0].settings["mc_imp_per_kwh"]
    return pulse_hz_per_w * (1 + NOISY.crystal_ppm * 1e-6) * joules_per_pulse - 1


def true_lag_deg(bench):
    """Excess lag of the current in chip 0 now."""
    bench.connect(UNITY)
    return bench.board.chips[0]._inputs.line.angle_deg
