"""What can go wrong while the simulation runs, asked for on the command line: `1=reset@10`, `flips:1e-4`, `brown-out@30`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from epi_tools.plant import CHANNELS

GRAMMAR = (
    "flips:RATE, reset@S, dead@S+FOR, deaf@S+FOR, cs1@S, cs2@S, each for one channel with N= in front, else for all; "
    "board-reset@S, brown-out@S"
)

_SPEC = re.compile(r"(?:(?P<channel>\d+)=)?(?P<kind>[a-z0-9-]+)(?::(?P<rate>[^@+]+))?(?:@(?P<at>[^+]+)(?:\+(?P<span>.+))?)?")


class FaultSpecError(ValueError):
    """A fault that cannot be; the text is one sentence for the user."""


@dataclass(frozen=True)
class Kind:
    """What a fault of one kind does, and which parts its text has. A span that may be left out lasts to the end."""

    meaning: str
    has_rate: bool = False
    has_span: bool = False
    of_board: bool = False


KINDS = {
    "flips": Kind("bits flip on its SPI lines", has_rate=True, has_span=True),
    "reset": Kind("its supply dips: all registers back at their reset values"),
    "dead": Kind("it has no supply", has_span=True),
    "deaf": Kind("nothing arrives on its SPI lines: the board reads ones", has_span=True),
    "cs1": Kind("a metering register changes behind its checksum"),
    "cs2": Kind("a measurement register changes behind its checksum"),
    "board-reset": Kind("the board is reset, the chips run on", of_board=True),
    "brown-out": Kind("board and chips lose their supply together", of_board=True),
}


@dataclass(frozen=True)
class Fault:
    """One fault: at `at_s` seconds after the start; for `span_s` seconds, or to the end where that is None."""

    kind: str
    channels: tuple[int, ...]
    at_s: float = 0.0
    span_s: float | None = None
    rate: float = 0.0


def parse_faults(texts: Iterable[str]) -> list[Fault]:
    """Faults in the order in which they happen. Raises FaultSpecError."""
    return sorted((_parse(part) for text in texts for part in text.split(",")), key=lambda fault: fault.at_s)


def _parse(text: str) -> Fault:
    match = _SPEC.fullmatch(text.strip())
    kind = KINDS.get(match["kind"]) if match else None
    if match is None or kind is None:
        raise FaultSpecError(f"Fault '{text}' is unknown: write {GRAMMAR}.")
    if bool(match["rate"]) != kind.has_rate or (match["span"] and not kind.has_span) or not (match["at"] or kind.has_rate):
        raise FaultSpecError(f"Fault '{text}' has a part too many or too few: write {GRAMMAR}.")
    if match["channel"] and (kind.of_board or int(match["channel"]) >= CHANNELS):
        raise FaultSpecError(f"Fault '{text}' names a channel that it cannot have: they go from 0 to {CHANNELS - 1}.")
    channels = (int(match["channel"]),) if match["channel"] else tuple(range(CHANNELS))
    return Fault(
        match["kind"],
        channels,
        _number(text, match["at"] or "0", 1e9),
        _number(text, match["span"], 1e9) if match["span"] else None,
        _number(text, match["rate"] or "0", 1.0),
    )


def _number(text: str, part: str, most: float) -> float:
    try:
        value = float(part)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise FaultSpecError(f"Fault '{text}': '{part}' is no number from 0 to {most:g}.")
    return value
