"""The plant: where the watts on each channel come from."""

from epi_tools.plant.channels import CHANNELS, ChannelSpecError, parse_channels
from epi_tools.plant.ledger import Ledger
from epi_tools.plant.source import Source
from epi_tools.plant.waveforms import Constant, Recorded, Sine, Steps

__all__ = ["CHANNELS", "ChannelSpecError", "Constant", "Ledger", "Recorded", "Sine", "Source", "Steps", "parse_channels"]
