"""Measuring one load: wait until the chip is calm, collect sweeps, and stop as soon as they cannot become a good average."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from epi_tools.calibrate.averages import Averages, averages
from epi_tools.calibrate.bench import Bench
from epi_tools.calibrate.checks import NOTHING, check_chip, check_steady
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.readings import ABSENT, REINIT, SETTLING, Sweep

CALM_S = 15.0
SKIP_S = 1.0
"""After a load was switched, the chip's window still holds the past."""

LOOK_S = 3.0
"""From here on it is worth looking whether this is the right load."""

Check = Callable[[Sequence[float]], None]


def collect(bench: Bench, channel: int, seconds: float, check: Check, progress: Callable[[float], None]) -> list[Sweep]:
    """Return sweeps over `seconds` of a steady load; `check` gets the mean power of each channel every second."""
    sweeps: list[Sweep] = []
    looked_s = LOOK_S - 1
    for sweep in _calm(bench, channel):
        reading = sweep.channels[channel]
        check_chip(channel, reading)
        if sweeps and sweep.boot_id != sweeps[0].boot_id:
            raise CalibrationError(f"The board restarted while channel {channel} was measured; {NOTHING}.")
        sweeps.append(sweep)
        done_s = reading.t_s - sweeps[0].channels[channel].t_s
        if done_s - looked_s >= 1 or done_s >= seconds:
            looked_s = done_s
            progress(done_s)
            check_steady(channel, [one.channels[channel] for one in sweeps])
            check(mean_powers_w(sweeps))
        if done_s >= seconds:
            return sweeps
    raise CalibrationError(f"The board has stopped sending; {NOTHING}.")


def average_of(sweeps: Sequence[Sweep], channel: int, tick_j: float) -> Averages:
    """Averages of one channel."""
    return averages([sweep.channels[channel] for sweep in sweeps], tick_j)


def mean_powers_w(sweeps: Sequence[Sweep]) -> list[float]:
    """Mean power of every channel; 0 for one that measures nothing."""
    columns = zip(*(sweep.channels for sweep in sweeps), strict=True)
    valid = [[reading.p_w for reading in column if not math.isnan(reading.p_w)] for column in columns]
    return [fmean(powers_w) if powers_w else 0.0 for powers_w in valid]


def _calm(bench: Bench, channel: int) -> Iterator[Sweep]:
    """Sweeps from a second after the chip has settled."""
    first_s = calm_s = None
    for sweep in bench.sweeps():
        reading = sweep.channels[channel]
        first_s = reading.t_s if first_s is None else first_s
        if calm_s is None and reading.flags & (ABSENT | REINIT | SETTLING):
            if reading.t_s - first_s > CALM_S:
                check_chip(channel, reading)
                raise CalibrationError(f"The chip of channel {channel} does not settle; {NOTHING}.")
            continue
        calm_s = reading.t_s if calm_s is None else calm_s
        if reading.t_s - calm_s >= SKIP_S:
            yield sweep
