"""The real firmware in virtual time on the register-exact chip model, and what the host would see of it."""

from collections.abc import Sequence

from epi_firmware import config, description
from epi_firmware.app import Meter
from epi_protocol import messages
from epi_protocol.frame import FrameDecoder, encode_command
from epi_tools.chip import PI_SENSORS, Circuit, Imperfections, Load
from epi_tools.chip import registers as reg
from epi_tools.plant import Constant
from epi_tools.sim.virtual import VirtualBoard

IDEAL = Circuit(PI_SENSORS, Load(0, 1))
LIVING = Circuit(PI_SENSORS, Load(-15.0, 0.6), flaws=Imperfections(noise_w=0.005, noise_v=0.02, noise_a=1e-4))
J_PER_TICK = 0.36


class Line:
    """The serial line: `incoming` goes to the board; `open` is False while the host does not read."""

    chunk = 64

    def __init__(self, clock):
        self.incoming, self.outgoing, self.open = bytearray(), bytearray(), True
        self._clock = clock

    def readable(self, timeout_ms):
        if not self.incoming:
            self._clock.sleep_ms(timeout_ms)
        return bool(self.incoming)

    def read_byte(self):
        return self.incoming.pop(0)

    def writable(self):
        return self.open

    def write(self, buf, start, n):
        self.outgoing += buf[start : start + n]
        return n


class Model:
    """Four chips on the firmware. `cleared[channel][address]` is what reading has taken out of each energy register."""

    def __init__(
        self, sources: Sequence[object] | None = None, circuit=LIVING, start_ns=0, boot_id=b"BOOT", straps=None, **settings
    ):
        sources = sources or [Constant(3.5), Constant(5.0), Constant(11.0), Constant(8.0)]
        self.board = VirtualBoard(sources, circuit, start_ns=start_ns, straps=straps)
        self.cleared = [dict.fromkeys(reg.ENERGY, 0) for _ in self.board.chips]
        for chip, cleared in zip(self.board.chips, self.cleared, strict=True):
            _note_clearing(chip, cleared)
        self.boot(boot_id, **settings)

    def boot(self, boot_id=b"BOOT", **settings):
        """Start the firmware anew on chips that keep running."""
        self.settings, complaints = config.checked({"settle_ms": 500, **settings})
        assert not complaints
        self.line = Line(self.board.clock)
        hello = description.hello_payload(boot_id, "e661", "1.28.0", "model", True, self.settings)
        spi, cs_pins = self.board.spi(), self.board.cs_pins()
        self.meter = Meter(spi, cs_pins, self.line, self.board.clock, self.settings, boot_id, hello)
        self._decoder = FrameDecoder()

    @property
    def chips(self):
        return self.board.chips

    def run(self, seconds):
        """Run the loop for `seconds` of virtual time; return the payloads that arrived."""
        end_ns = self.board.clock.now_ns + round(seconds * 1e9)
        while self.board.clock.now_ns < end_ns:
            self.meter.turn()
        return self.received()

    def received(self):
        payloads = self._decoder.feed(bytes(self.line.outgoing))
        self.line.outgoing.clear()
        return payloads

    def samples(self, seconds):
        """Run for `seconds`; return the samples that arrived."""
        return samples_of(self.run(seconds))

    def send(self, payload):
        self.line.incoming += encode_command(payload)

    def block(self, channel):
        """The channel block as it stands in the message now."""
        payload, length = self.meter._sweep.message.payload, self.meter._sweep.message.length
        return messages.parse_sample(bytes(payload[:length]))[1][channel]


def samples_of(payloads):
    return [messages.parse_sample(payload) for payload in payloads if payload[0] == messages.SAMPLE]


def logs_of(payloads):
    return [messages.parse_log(payload)[1] for payload in payloads if payload[0] == messages.LOG]


def flags_of(channel):
    """Names of the flags that are set."""
    return {name for name, bit, _meaning in messages.FLAGS if channel["flags"] >> bit & 1}


def _note_clearing(chip, cleared):
    complete_read = chip.complete_read

    def noting(address, data):
        complete_read(address, data)
        if address in cleared:
            cleared[address] += data

    chip.complete_read = noting
