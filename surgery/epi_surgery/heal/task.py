"""Healing from beginning to end: original, cut model and text in, a healed GGUF out that is shown to be better."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.heal.closed_form import Healing, heal
from epi_surgery.heal.written import write_healed
from epi_surgery.model.load import Loaded, load
from epi_surgery.model.loss import mean_loss
from epi_surgery.model.source import find_source, identify, n_bytes_of
from epi_surgery.output import final_name
from epi_surgery.progress import Bar
from epi_surgery.rank.calibration import Wanted, calibrate

# Of the windows drawn, the share that heals; the others only judge.
_HEALING_SHARE = 0.8


@dataclass(frozen=True)
class Healed:
    """Perplexities on windows that healing did not see: of the original, of the cut model, and of the file written."""

    path: Path
    tokens: int
    judged_on: int
    original: float
    cut: float
    healed: float
    changed: tuple[str, ...]
    requantised: tuple[str, ...]


def heal_model(original: Path, cut: Path, wanted: Wanted, healing: Healing, out: Path, cache: Path | None, bar: Bar) -> Healed:
    """Heal `cut` towards `original` into `out`; raises SurgeryError, with nothing written, where it did not get better."""
    with GgufFile(cut) as opened:
        _check_parent(opened, original, cache, bar)
        dense, pupil = load(original, progress=bar), load(cut, progress=bar)
        windows, texts = calibrate(dense, wanted)
        teaching, judging = _divided(windows)
        uncut, before = _perplexity(dense, judging), _perplexity(pupil, judging)
        with bar("healing", len(pupil.layers)) as advance:
            changed = heal(dense, pupil, teaching, healing, advance)
        record: dict[str, Any] = {"texts": texts, "tokens": teaching.numel(), "window": wanted.window, "seed": wanted.seed}
        with final_name(out) as part:
            requantised = write_healed(part, opened, changed, record | asdict(healing), bar)
            after = _perplexity(load(part, progress=bar), judging)
            _check_better(before, after, teaching.numel())
    names = tuple(recipe.name for recipe in requantised)
    return Healed(out, teaching.numel(), judging.numel(), uncut, before, after, tuple(changed), names)


def _check_parent(cut: GgufFile, original: Path, cache: Path | None, bar: Bar) -> None:
    parent = cut.text("epi.parent_sha256")
    if not parent:
        raise SurgeryError(f"{cut.path}: does not say what it was cut from; only models cut by epi-surgery can be healed")
    source = find_source(original)
    with bar("hashing the model", n_bytes_of(source)) as advance:
        found = identify(source, cache, advance)
    if found.sha256 != parent:
        raise SurgeryError(
            f"{cut.path}: was cut from a model with sha256 {parent[:12]}…, not from {original} ({found.sha256[:12]}…)"
        )


def _divided(windows: Tensor) -> Sequence[Tensor]:
    """Windows to heal on and others to judge by, drawn from all over."""
    n_healing = int(len(windows) * _HEALING_SHARE)
    if n_healing == 0 or n_healing == len(windows):
        raise SurgeryError(f"{windows.numel():,} tokens are too few to heal on some and judge by others; raise --tokens")
    mixed = windows[torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))]
    return mixed[:n_healing], mixed[n_healing:]


def _perplexity(loaded: Loaded, windows: Tensor) -> float:
    return math.exp(mean_loss(loaded, windows))


def _check_better(cut: float, healed: float, n_tokens: int) -> None:
    if not healed < cut:
        raise SurgeryError(
            f"healing on {n_tokens:,} tokens made it worse: a perplexity of {healed:.2f}, {cut:.2f} before; "
            "nothing was written, raise --tokens or --strength"
        )
