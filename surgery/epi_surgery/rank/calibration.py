"""The tokens a criterion looks at: from text files, or written by the model itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from epi_surgery.errors import SurgeryError
from epi_surgery.model.load import Loaded
from epi_surgery.model.tokens import Sample, sample_model, sample_text, tokenizer_of

# Of the windows drawn, the share that is worked with; the others only judge.
_WORKING_SHARE = 0.8


@dataclass(frozen=True)
class Wanted:
    """`tokens` in windows of `window`, in equal parts from each of the `texts`; from the model itself where there is none."""

    texts: tuple[Path, ...]
    tokens: int = 1024
    window: int = 256
    seed: int = 0


def calibrate(loaded: Loaded, wanted: Wanted) -> tuple[Tensor, list[dict[str, str | int]]]:
    """Windows (window, token) and the origin of each part; raises SurgeryError where a text is too short or not UTF-8."""
    if wanted.tokens < wanted.window:
        raise SurgeryError(f"{wanted.tokens} tokens do not fill one window of {wanted.window}; raise --tokens or lower --window")
    samples = _samples(loaded, wanted)
    return torch.cat([sample.windows for sample in samples]), [sample.origin for sample in samples]


def divided(windows: Tensor, purpose: str, n: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Of the first n windows (all of them by default) those for the purpose and those that judge, and what is left behind
    them, each drawn from all over; raises SurgeryError where there are too few to part.
    """
    n = len(windows) if n is None else min(n, len(windows))
    n_working = int(n * _WORKING_SHARE)
    if n_working == 0 or n_working == n:
        raise SurgeryError(f"{n * windows.shape[1]:,} tokens are too few to {purpose} some and judge by others; raise --tokens")
    mixed = windows[torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))]
    return mixed[:n_working], mixed[n_working:n], mixed[n:]


def _samples(loaded: Loaded, wanted: Wanted) -> Sequence[Sample]:
    if not wanted.texts:
        return [sample_model(loaded, wanted.tokens, wanted.window, wanted.seed)]
    tokenizer = tokenizer_of(loaded.source)
    share = max(wanted.window, wanted.tokens // len(wanted.texts))
    return [sample_text(tokenizer, path, share, wanted.window, wanted.seed) for path in wanted.texts]
