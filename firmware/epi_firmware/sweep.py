"""One sweep: all chips read once, into one SAMPLE payload that is made once and filled in place."""

import struct

from epi_protocol.checksum import CRC_BYTES
from epi_protocol.messages import CHANNEL_FIELDS, SAMPLE, SAMPLE_FIELDS, offset_of, size_of
from epi_protocol.ticks import add_into

_SEQ = offset_of(SAMPLE_FIELDS, "seq")
_BOARD_US = offset_of(SAMPLE_FIELDS, "board_us")
_DROPPED = offset_of(SAMPLE_FIELDS, "dropped")


class SampleMessage:
    """The payload of SAMPLE: `payload[:length]`, with room for the checksum behind, and one writable block per channel."""

    def __init__(self, boot_id, n_channels):
        head, block = size_of(SAMPLE_FIELDS), size_of(CHANNEL_FIELDS)
        self.length = head + n_channels * block
        self.payload = bytearray(self.length + CRC_BYTES)
        struct.pack_into("<B4s", self.payload, 0, SAMPLE, boot_id)
        self.payload[offset_of(SAMPLE_FIELDS, "n_channels")] = n_channels
        view = memoryview(self.payload)
        self.blocks = [view[at : at + block] for at in range(head, self.length, block)]

    def stamp(self, ticks64, dropped):
        """Fill in the head of the sweep that begins now; return the raw tick that now is."""
        now = ticks64.update()
        ticks64.copy_into(self.payload, _BOARD_US)
        for i in range(4):
            self.payload[_DROPPED + i] = dropped & 0xFF
            dropped >>= 8
        return now

    def next(self):
        """Number the sweep that follows."""
        add_into(self.payload, _SEQ, 4, 1)


class Sweep:
    """Reads `channels` into `message`: P of every chip first, so that their times lie close together, then the rest."""

    def __init__(self, message, channels, ticks64):
        self.message = message
        self.channels = channels
        self._ticks64 = ticks64

    def begin(self, dropped):
        """Stamp the message and read P of all chips; `dropped` is what the ring has lost so far."""
        start = self.message.stamp(self._ticks64, dropped)
        for channel in self.channels:
            channel.read_power(start)
