"""`--channel 0=const:5`: what a channel argument may say, and the source it stands for."""

import csv
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from epi_tools.plant.cpu_load import CpuLoad, NodePower
from epi_tools.plant.source import Source
from epi_tools.plant.waveforms import Constant, Recorded, Sine, Steps

CHANNELS = 4
UNUSED = "const:0"
GRAMMAR = "cpu:PID, cpu:@FILE, const:W, steps:WxS,WxS…, sine:MEAN,SWING,PERIOD or csv:FILE"


class ChannelSpecError(ValueError):
    """A channel argument that cannot be understood; the text is one sentence for the user."""


def parse_channels(arguments: Iterable[str]) -> list[str]:
    """`N=SPEC` arguments to one spec per channel; a channel not named has nothing plugged in."""
    specs: list[str | None] = [None] * CHANNELS
    for argument in arguments:
        number, _, spec = argument.partition("=")
        if not (number.isdecimal() and int(number) < CHANNELS and spec):
            raise ChannelSpecError(f"Channel '{argument}' is not N=SPEC with N from 0 to {CHANNELS - 1}; SPEC is {GRAMMAR}.")
        if specs[int(number)] is not None:
            raise ChannelSpecError(f"Channel {number} has two sources, '{specs[int(number)]}' and '{spec}': give one.")
        specs[int(number)] = spec
    return [spec or UNUSED for spec in specs]


def build_source(spec: str, power: NodePower, clock: Callable[[], int], start_ns: int) -> Source:
    """The source a spec stands for; computed ones begin at `start_ns`."""
    kind, _, text = spec.partition(":")
    if kind == "cpu":
        return CpuLoad(_pid(spec, text), power, clock)
    if kind == "csv":
        return _recorded(Path(text), start_ns)
    if kind == "const":
        (watts,) = _numbers(spec, text, 1)
        return Constant(_not_negative(spec, watts))
    if kind == "sine":
        mean_w, swing_w, period_s = _numbers(spec, text, 3)
        if period_s <= 0 or abs(swing_w) > mean_w:
            raise ChannelSpecError(f"Channel source '{spec}' needs a period above 0 s and a swing no larger than the mean.")
        return Sine(mean_w, swing_w, period_s, start_ns)
    if kind == "steps":
        return Steps([_level(spec, level) for level in text.split(",")], start_ns)
    raise ChannelSpecError(f"Channel source '{spec}' is unknown; it is one of {GRAMMAR}.")


def _pid(spec: str, text: str) -> int | Path:
    if text.startswith("@") and len(text) > 1:
        return Path(text[1:])
    if not text.isdecimal():
        raise ChannelSpecError(f"Channel source '{spec}' needs a process number (cpu:1234) or a file that holds one (cpu:@FILE).")
    if not Path(f"/proc/{text}").exists():
        raise ChannelSpecError(f"Channel source '{spec}': there is no process {text}.")
    return int(text)


def _level(spec: str, text: str) -> tuple[float, float]:
    watts, seconds = _numbers(spec, text.replace("x", ","), 2)
    if seconds < 1e-3:
        raise ChannelSpecError(f"Channel source '{spec}' has a step shorter than 1 ms; write steps as WxS, like 3.5x5.")
    return _not_negative(spec, watts), seconds


def _numbers(spec: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ChannelSpecError(f"Channel source '{spec}' is not well formed; it is one of {GRAMMAR}.")
    return numbers


def _not_negative(spec: str, watts: float) -> float:
    if watts < 0:
        raise ChannelSpecError(f"Channel source '{spec}' has negative watts; a load cannot feed the mains here.")
    return watts


def _recorded(path: Path, start_ns: int) -> Recorded:
    """A CSV file with seconds and watts in its first two columns, a heading allowed."""
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ChannelSpecError(f"Cannot read the recorded watts in {path}: {reason}.") from error
    times_ns: list[int] = []
    watts: list[float] = []
    for line, row in enumerate(rows, 1):
        try:
            second, power = float(row[0]), float(row[1])
        except (ValueError, IndexError):
            if line == 1:
                continue
            raise ChannelSpecError(f"Row {line} of {path} is not seconds,watts.") from None
        if not (math.isfinite(second) and math.isfinite(power) and power >= 0):
            raise ChannelSpecError(f"Row {line} of {path} has a number that is not finite, or negative watts.")
        if times_ns and start_ns + second * 1e9 <= times_ns[-1]:
            raise ChannelSpecError(f"Row {line} of {path} does not come later than the row before.")
        times_ns.append(start_ns + round(second * 1e9))
        watts.append(power)
    if not watts:
        raise ChannelSpecError(f"{path} holds no rows of seconds,watts.")
    return Recorded(times_ns, watts)
