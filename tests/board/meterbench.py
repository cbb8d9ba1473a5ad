"""A whole meter on the bench: the real loop on scripted chips, and what the host would see of it."""

from bench import Bus, Clock, Port

from epi_firmware import config, description
from epi_firmware import registers as reg
from epi_firmware.app import Meter
from epi_protocol import messages
from epi_protocol.frame import FrameDecoder, encode_command

BOOT_ID = b"BOOT"


class MeterBench:
    """`meter` with `chips`, its `clock` and `port`; `settings` as in config.json."""

    def __init__(self, settings=None, start_us=0, live=True):
        given = {"settle_ms": 200}
        given.update(settings or {})
        settings, complaints = config.checked(given)
        assert not complaints, complaints
        self.clock = Clock(start_us)
        self.bus = Bus(self.clock, len(settings["channels"]))
        self.chips = self.bus.chips
        self.port = Port(self.clock)
        hello = description.hello_payload(BOOT_ID, "e661", "1.28.0", "bench", True, settings)
        self.meter = Meter(self.bus, self.bus.selects, self.port, self.clock, settings, BOOT_ID, hello)
        self._decoder = FrameDecoder()
        self.live = live  # set fresh readings before each sweep

    def sweeps(self, count):
        """Run the loop for `count` sweeps and to the end of the sending after them; return the new samples."""
        samples = []
        for number in range(count):
            if self.live:
                for chip in self.chips:
                    chip.live()
                    chip.low[reg.Q_MEAN] += (number & 7) << 8  # a living chip is never quite still
            self.sweep()
            samples += self.samples()
        return samples

    def settled(self):
        """Run until the chips are configured and settled; return the meter bench itself."""
        self.sweeps(12)
        return self

    def send(self, payload):
        """Send a command to the board."""
        self.port.incoming.extend(encode_command(payload))

    def messages(self):
        """Payloads that have arrived since the last call; damaged frames are an error."""
        payloads = self._decoder.feed(bytes(self.port.outgoing))
        self.port.outgoing = bytearray()
        assert self._decoder.damaged == 0
        return payloads

    def samples(self):
        """Samples that have arrived since the last call, each (head, channels)."""
        return [messages.parse_sample(payload) for payload in self.messages() if payload[0] == messages.SAMPLE]

    def sweep(self):
        """Run the loop until one sweep is done and sent."""
        due = self.meter._due
        while self.meter._due == due:
            self.meter.turn()


def flags_of(channel):
    """Names of the flags that are set, as a set."""
    return {name for name, bit, _meaning in messages.FLAGS if channel["flags"] >> bit & 1}
