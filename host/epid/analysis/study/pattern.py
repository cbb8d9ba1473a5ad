"""The four patterns of the plan, read from times, watts and joules that were each tested on their own."""

from __future__ import annotations

from collections.abc import Sequence

from ..interval import Interval
from .arm import Arm, decode_rate, decode_w
from .contrast import Contrast, contrast, spread
from .redistribution import pruned_layers, touched_us, untouched_us
from .verdict import ALPHA, Margins, Signal, Verdict

TEST = f"each signal by t tests at alpha {ALPHA:g}: unchanged is an equivalence (TOST) inside its margin"


def signals(baseline: Arm, arm: Arm, joules: Contrast, margins: Margins) -> tuple[tuple[Signal, Contrast | None], ...]:
    """What is looked at, with the contrast behind it: time in cut attention and elsewhere, watts, tokens/s, joules per token."""
    cut = pruned_layers(baseline, arm)
    touched = _contrast([touched_us(run, cut) for run in baseline.runs], [touched_us(run, cut) for run in arm.runs])
    others = _contrast([untouched_us(run, cut) for run in baseline.runs], [untouched_us(run, cut) for run in arm.runs])
    watts = _contrast(baseline.values(decode_w), arm.values(decode_w))
    rate = _contrast(baseline.values(decode_rate), arm.values(decode_rate))
    found = (
        ("time of cut attention", touched, margins.time),
        ("time of everything else", others, margins.time),
        ("watts while decoding", watts, margins.power),
        ("tokens per second", rate, margins.time),
        ("joules per token", joules, margins.power),
    )
    return tuple((_signal(name, ratio, margin), ratio) for name, ratio, margin in found)


def pattern(found: Sequence[tuple[Signal, Contrast | None]]) -> Verdict:
    """Name the pattern; undecided where a signal that it hangs on is."""
    seen = {signal.name: signal.claim for signal, _contrast in found}
    cut, others = seen["time of cut attention"], seen["time of everything else"]
    watts, joules = seen["watts while decoding"], seen["joules per token"]
    text = ", ".join(f"{signal.name} {signal.claim}" for signal, _contrast in found)
    if others == "higher" and joules in ("unchanged", "higher"):
        return Verdict("full", f"full compensation: what was not cut takes longer, and a token costs no less ({text})", TEST)
    if cut == "lower" and joules == "lower" and (others == "higher" or watts == "higher"):
        return Verdict(
            "partial", f"partial compensation: the cut attention is faster, the rest took over some load ({text})", TEST
        )
    if cut == "lower" and joules == "lower" and watts == "lower" and others == "unchanged":
        return Verdict("none", f"no compensation: only the cut attention is faster, and watts drop with it ({text})", TEST)
    if cut == "lower" and joules == "lower" and watts == "unchanged" and others in ("unchanged", "lower"):
        return Verdict("speed-up", f"inference speed-up: the same watts for a shorter time ({text})", TEST)
    open_signals = [
        (signal, ratio) for signal, ratio in found if signal.claim == "undecided" and signal.name != "tokens per second"
    ]
    if open_signals:
        more = _more(open_signals)
        need = f"undecided: {more} more repeats needed" if more else "undecided"
        return Verdict("undecided", f"{need} ({text})", TEST, more)
    return Verdict("other", f"none of the four patterns ({text})", TEST)


def _contrast(before: list[float], after: list[float]) -> Contrast | None:
    usable = all(value > 0 for value in (*before, *after)) and bool(before) and bool(after)
    return contrast(after, before, spread([before, after])) if usable else None


def _signal(name: str, ratio: Contrast | None, margin: float) -> Signal:
    if ratio is None:
        return Signal(name, Interval.missing("no spans of layers tell it"), margin, "undecided")
    return Signal(name, ratio.ratio, margin, ratio.claim(margin))


def _more(found: Sequence[tuple[Signal, Contrast | None]]) -> int | None:
    needed = [
        ratio.more_runs(max(abs(ratio.log), abs(signal.margin - abs(ratio.log)))) for signal, ratio in found if ratio is not None
    ]
    known = [number for number in needed if number is not None]
    return max(known) if len(known) == len(found) and known else None
