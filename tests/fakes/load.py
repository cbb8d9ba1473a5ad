"""A node that plays a load pattern, and the chip model that meters it: what `epid lag` has to find is known here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from epi_tools.chip import Atm90e26, ChipTiming, Circuit, Imperfections, block_checksum
from epi_tools.chip import registers as reg
from epi_tools.plant.waveforms import Recorded

S = 1_000_000_000
REST_W, BURN_W, WORK_W = 3.5, 9.0, 7.0
QUANTUM_J = 0.36
_METERING = (0, 4576, 0, 0, 0, 0, 0, 0, 0, 0, 0x7422)
_MEASURING = (0x6720, 0x7A13, 0x7530, 0, 0, 0, 0, 0, 0, 0)
CIRCUIT = Circuit(flaws=Imperfections(crystal_ppm=30.0, noise_w=0.02))


@dataclass(frozen=True)
class Span:
    """A span of the pattern, in the host's time."""

    begin_ns: int
    end_ns: int
    kind: str


@dataclass(frozen=True)
class Reading:
    """What one sweep saw: P and the energy counter of one chip. `age_ns`: how long ago the chip had renewed P, the truth."""

    host_ns: int
    p_w: float
    ticks: int
    age_ns: int


def play(rng: random.Random, begin_ns: int, seconds: float) -> list[Span]:
    """A pattern of random lengths."""
    spans: list[Span] = []
    while begin_ns < (spans[0].begin_ns if spans else begin_ns) + seconds * S or not spans:
        for kind in ("burn", "rest"):
            end_ns = begin_ns + int(rng.uniform(0.05, 0.4) * S)
            spans.append(Span(begin_ns, end_ns, kind))
            begin_ns = end_ns
    return spans


def two_patterns(rng: random.Random, seconds: float = 20.0) -> list[Span]:
    """A pattern, ten seconds of work, another pattern."""
    first = play(rng, 3 * S, seconds)
    return first + play(rng, first[-1].end_ns + 10 * S, seconds)


def load_of(spans: Sequence[Span], late_ns: int = 0) -> Recorded:
    """The node's power: it follows its spans `late_ns` later, and works between the patterns."""
    times_ns, watts = [0], [REST_W]
    for before, span in zip([None, *spans], spans, strict=False):
        if before is not None and span.begin_ns - before.end_ns > S:
            times_ns.append(before.end_ns + S)
            watts.append(WORK_W)
        times_ns.append(span.begin_ns + late_ns)
        watts.append(BURN_W if span.kind == "burn" else REST_W)
    return Recorded(times_ns, watts)


def meter(source: Recorded, until_ns: int, timing: ChipTiming, hz: float, seed: int) -> list[Reading]:
    """Read the chip model at `hz`, with the millisecond of jitter that a board's loop has."""
    now_ns = [0]
    chip = Atm90e26(source, lambda: now_ns[0], CIRCUIT, timing, seed=seed)
    now_ns[0] = 20_000_000
    for start, words in ((reg.CAL_START, _METERING), (reg.ADJ_START, _MEASURING)):
        chip.write(start, reg.SETTING)
        for offset, word in enumerate((*words, block_checksum(words)), 1):
            chip.write(start + offset, word)
        chip.write(start, reg.CHECKED)
    rng, readings, ticks, sweep = random.Random(seed), [], 0, 0
    while now_ns[0] < until_ns:
        sweep += 1
        now_ns[0] = 20_000_000 + int(sweep * S / hz) + rng.randrange(1_000_000)
        main = chip.load(reg.P_MEAN)
        chip.complete_read(reg.P_MEAN, main)
        p_w = (main - 0x10000 if main & 0x8000 else main) + chip.load(reg.LSB) / 65536
        fresh = chip.load(reg.AP_ENERGY)
        chip.complete_read(reg.AP_ENERGY, fresh)
        ticks += fresh
        age_ns = timing.refresh_ns - (chip._measuring.due_ns - now_ns[0])
        readings.append(Reading(now_ns[0], p_w, ticks, age_ns))
    return readings
