"""The model of the bench of criteria: its texts split, its heads ranked, and its loss with some of them silenced."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from criteria_table import Measurement, Setting

from epi_surgery.aim import Aim
from epi_surgery.choose import choose
from epi_surgery.evaluate.accuracy import judge
from epi_surgery.evaluate.blimp import read_blimp
from epi_surgery.evaluate.engine import Limits
from epi_surgery.evaluate.torch_engine import TorchEngine
from epi_surgery.gqa import LayerHeads, all_heads, keep_any
from epi_surgery.heal.closed_form import Healing, heal
from epi_surgery.heal.distil import Distillation, distil
from epi_surgery.model import Loaded, load, masked
from epi_surgery.model.loss import mean_loss
from epi_surgery.model.source import identify
from epi_surgery.model.tokens import draw_windows, read_text, token_ids, tokenizer_of
from epi_surgery.norms import Scores
from epi_surgery.progress import bar
from epi_surgery.rank.criteria import Needs, family_of, score_on_text
from epi_surgery.rank.l0 import Training
from epi_surgery.rank.names import GATES, SLOW
from epi_surgery.refine.exchange import Effort, Kept
from epi_surgery.refine.task import refine
from epi_surgery.rules import Rules
from epi_surgery.score_file import HeadScores, read_scores, write_scores
from epi_surgery.scores import random_scores

CALIBRATION, WINDOW = 1024, 256
GATE_TOKENS, GATE_WINDOW = 25_600, 128
HEALING_TOKENS = 8192
REFINING_TOKENS = 4096
TORCH = Rules("torch")
# Added to the seed, so that no two draws are the same windows.
HEALING, MEASURING, REFINING = 1000, 2000, 3000


@dataclass(frozen=True)
class Texts:
    """Token rows, one per text: the first half of each to calibrate, the last 35 % held out, between them some to tune by."""

    calibration: tuple[torch.Tensor, ...]
    measured: Mapping[str, tuple[torch.Tensor, ...]]


class PrunedModel:
    """A model in float32 to rank and heal, and in bfloat16 to measure: 0.1 % off in perplexity, 2.5 times as fast."""

    def __init__(self, model: Path, texts: Sequence[Path], folder: Path, blimp: Path | None = None) -> None:
        self._path, self._folder, self._blimp = model, folder, blimp
        self._exact, self._fast = load(model), load(model, torch.bfloat16)
        self._identity = identify(self._exact.source, None, lambda _: None)
        self._tokenizer = tokenizer_of(self._exact.source)
        self._texts = _divided([token_ids(self._tokenizer, read_text(text)) for text in texts])
        self._dense: dict[tuple[str, int], tuple[float, ...]] = {}

    def scores(self, criterion: str, seed: int) -> tuple[Scores, float]:
        """The criterion's scores and the seconds they took; from the folder where they stand there."""
        path = self._folder / f"{criterion}-{seed}.json"
        if not path.exists():
            for name, (scores, seconds) in self._ranked(criterion, seed).items():
                kept = HeadScores(self._identity, name, scores, {"seed": seed, "seconds": seconds})
                write_scores(self._folder / f"{name}-{seed}.json", kept)
        found = read_scores(path)
        return found.scores, found.provenance["seconds"]

    def measure(self, setting: Setting, n_tokens: int) -> Measurement:
        """Prune and treat as the setting says, and compare losses on the same windows."""
        rows = self._texts.measured[setting.split]
        windows = [draw_windows(row, n_tokens, WINDOW, setting.seed + MEASURING, setting.split) for row in rows]
        kept, seconds = self._kept(setting)
        model = self._treated(kept, setting) if setting.healed else self._fast
        with masked(model.layers, kept):
            losses = tuple(mean_loss(model, some) for some in windows)
            judged = self._judged(model, setting.pairs)
        return Measurement(setting, self._dense_losses(setting, windows), losses, seconds, judged)

    def _judged(self, model: Loaded, n_pairs: int) -> tuple[int, int] | None:
        if self._blimp is None or not n_pairs:
            return None
        pairs = read_blimp(self._blimp, n_pairs)
        with bar("minimal pairs", len(pairs)) as advance:
            verdicts = judge(TorchEngine(model.model, self._tokenizer, Limits()), pairs, False, advance)
        return sum(verdicts), len(pairs)

    def _kept(self, setting: Setting) -> tuple[Sequence[LayerHeads], float]:
        n_head, n_kv = self._exact.n_head, self._exact.n_kv
        if setting.criterion == "none":
            return [all_heads(*counts) for counts in zip(n_head, n_kv, strict=True)], 0.0
        scores, seconds = self.scores(setting.criterion, setting.seed)
        aim = Aim(setting.depth, setting.layout, protected=setting.protected)
        kept = choose(scores, n_head, n_kv, aim, TORCH)
        return self._refined(kept, aim, setting, seconds) if setting.refined else (kept, seconds)

    def _refined(self, kept: Kept, aim: Aim, setting: Setting, seconds: float) -> tuple[Kept, float]:
        """After exchanges by the loss; from the folder where they were found before."""
        name = f"{setting.criterion}-{setting.seed}-{setting.layout}-{setting.depth:g}-{setting.refined}-rounds.kept"
        path = self._folder / name
        if not path.exists():
            started = time.perf_counter()
            windows = self._windows(REFINING_TOKENS, WINDOW, setting.seed + REFINING)
            found = refine(self._fast, kept, aim, TORCH, windows, Effort(setting.refined), bar)
            seconds += time.perf_counter() - started
            path.write_text(json.dumps({"query": [layer.query for layer in found.kept], "seconds": seconds}))
        body = json.loads(path.read_text())
        shapes = zip(body["query"], self._exact.n_head, self._exact.n_kv, strict=True)
        return tuple(keep_any(*shape) for shape in shapes), body["seconds"]

    def _dense_losses(self, setting: Setting, windows: Sequence[torch.Tensor]) -> tuple[float, ...]:
        key = setting.split, setting.seed
        if key not in self._dense:
            self._dense[key] = tuple(mean_loss(self._fast, some) for some in windows)
        return self._dense[key]

    def _ranked(self, criterion: str, seed: int) -> dict[str, tuple[Scores, float]]:
        started = time.perf_counter()
        found = self._whole_family(criterion, seed)
        seconds = time.perf_counter() - started
        return {name: (scores, seconds) for name, scores in found.items()}

    def _whole_family(self, criterion: str, seed: int) -> dict[str, Scores]:
        if criterion == "random":
            return {criterion: random_scores(self._exact.n_head, seed)}
        if criterion in GATES:
            needs, windows = Needs(Training(seed=seed)), self._windows(GATE_TOKENS, GATE_WINDOW, seed)
            return {criterion: score_on_text(self._fast, criterion, windows, needs, bar)}
        windows = self._windows(CALIBRATION, WINDOW, seed)
        if criterion in SLOW:
            model = self._fast if criterion == "ablation" else self._exact
            return {criterion: score_on_text(model, criterion, windows, Needs(), bar)}
        return family_of(criterion)(self._exact, windows, lambda _: None)

    def _treated(self, kept: Sequence[LayerHeads], setting: Setting) -> Loaded:
        """The masked model healed, and distilled where that is asked for, in bfloat16."""
        pupil = load(self._path)
        healing = Healing(feed_forward=setting.healed == "o+down")
        with masked(pupil.layers, kept):
            # Enough for one window per step, however they are shared out among the texts.
            wanted = HEALING_TOKENS + (setting.distilled + len(self._texts.calibration)) * WINDOW
            windows = self._windows(wanted, WINDOW, setting.seed + HEALING)
            windows = windows[torch.randperm(len(windows), generator=torch.Generator().manual_seed(setting.seed))]
            first, lessons = windows.split([HEALING_TOKENS // WINDOW, len(windows) - HEALING_TOKENS // WINDOW])
            changed = heal(self._exact, pupil, first, healing, lambda _: None)
            if setting.distilled:
                plan = Distillation(setting.distilled, setting.rate, "bfloat16")
                with bar("distilling", setting.distilled) as advance:
                    distil(self._exact, pupil, lessons, list(changed), plan, advance)
        pupil.model.to(torch.bfloat16)
        return pupil

    def _windows(self, n_tokens: int, window: int, seed: int) -> torch.Tensor:
        rows = self._texts.calibration
        return torch.cat([draw_windows(row, n_tokens // len(rows), window, seed, "calibration") for row in rows])


def _divided(rows: Sequence[torch.Tensor]) -> Texts:
    half, late = ([int(len(row) * share) for row in rows] for share in (0.5, 0.65))
    return Texts(
        tuple(row[:end] for row, end in zip(rows, half, strict=True)),
        {
            "tuning": tuple(row[start:end] for row, start, end in zip(rows, half, late, strict=True)),
            "held-out": tuple(row[start:] for row, start in zip(rows, late, strict=True)),
        },
    )
