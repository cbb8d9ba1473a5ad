"""Healing from beginning to end: original, cut model and text in, a healed model out that is shown to be better."""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from epi_surgery.errors import SurgeryError
from epi_surgery.heal.closed_form import Healing, heal
from epi_surgery.heal.distil import Distillation, distil
from epi_surgery.heal.patient import Patient, open_patient
from epi_surgery.model.load import Loaded, load
from epi_surgery.model.loss import mean_loss
from epi_surgery.model.source import find_source, identify, n_bytes_of
from epi_surgery.progress import Bar
from epi_surgery.rank.calibration import Wanted, calibrate, divided


@dataclass(frozen=True)
class Healed:
    """Perplexities on windows that healing did not see: of the original, of the cut model, and of the file written."""

    path: Path
    tokens: int
    distilled_on: int
    judged_on: int
    original: float
    cut: float
    healed: float
    changed: tuple[str, ...]
    requantised: tuple[str, ...]


@dataclass(frozen=True)
class Treatment:
    """The closed form, and what follows it."""

    healing: Healing = field(default_factory=Healing)
    distillation: Distillation = field(default_factory=Distillation)


def heal_model(
    original: Path, cut: Path, wanted: Wanted, treatment: Treatment, out: Path, cache: Path | None, bar: Bar
) -> Healed:
    """Heal `cut` towards `original` into `out`; raises SurgeryError, with nothing written, where it did not get better."""
    with open_patient(cut) as patient:
        _check_parent(patient, cut, original, cache, bar)
        dense, pupil = load(original, progress=bar), patient.load(cut, bar)
        steps = treatment.distillation.steps
        # Every text gives equally many windows, so a few may be lost to rounding.
        more = (steps + len(wanted.texts)) * wanted.window if steps else 0
        windows, texts = calibrate(dense, replace(wanted, tokens=wanted.tokens + more))
        teaching, judging, lessons = divided(windows, "heal on", wanted.tokens // wanted.window)
        uncut, before = _perplexity(dense, judging), _perplexity(pupil, judging)
        with bar("healing", dense.model.config.num_hidden_layers) as advance:
            changed = heal(dense, pupil, teaching, treatment.healing, advance)
        if steps:
            with bar("distilling", steps) as advance:
                changed = distil(dense, pupil, lessons, list(changed), treatment.distillation, advance)
        record: dict[str, Any] = {"texts": texts, "tokens": teaching.numel(), "window": wanted.window, "seed": wanted.seed}
        with patient.place(out) as part:
            requantised = patient.write(part, changed, record | asdict(treatment), bar)
            after = _perplexity(patient.load(part, bar), judging)
            _check_better(before, after, teaching.numel())
    return Healed(
        out, teaching.numel(), steps * wanted.window, judging.numel(), uncut, before, after, tuple(changed), requantised
    )


def _check_parent(patient: Patient, cut: Path, original: Path, cache: Path | None, bar: Bar) -> None:
    parent = patient.parent
    if not parent:
        raise SurgeryError(f"{cut}: does not say what it was cut from; only models cut by epi-surgery can be healed")
    source = find_source(original)
    with bar("hashing the model", n_bytes_of(source)) as advance:
        found = identify(source, cache, advance)
    if found.sha256 != parent:
        raise SurgeryError(f"{cut}: was cut from a model with sha256 {parent[:12]}…, not from {original} ({found.sha256[:12]}…)")


def _perplexity(loaded: Loaded, windows: Tensor) -> float:
    return math.exp(mean_loss(loaded, windows))


def _check_better(cut: float, healed: float, n_tokens: int) -> None:
    if not healed < cut:
        raise SurgeryError(
            f"healing on {n_tokens:,} tokens made it worse: a perplexity of {healed:.2f}, {cut:.2f} before; "
            "nothing was written, raise --tokens or --strength"
        )
