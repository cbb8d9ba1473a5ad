"""Llama 3's scaled rotation: a GGUF stores the factors it led to, distributed-llama wants the four numbers it came from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.slices import decoded_rows

FACTORS = "rope_freqs.weight"
# What every Llama 3.1 and 3.2 was trained with; only `factor` differs between them.
_LOW, _HIGH, _ORIGINAL = 1, 4, 8192


@dataclass(frozen=True)
class Scaling:
    """Frequencies below `low` are divided by `factor`, above `high` left alone, and blended between."""

    factor: int
    low: int = _LOW
    high: int = _HIGH
    original: int = _ORIGINAL


def scaling_of(model: GgufFile, theta: float, head_dim: int) -> Scaling | None:
    """The model's scaling, None without; raises UnsupportedModel where its factors are not those of Llama 3."""
    tensor = model.tensors.get(FACTORS)
    if tensor is None:
        return None
    stored = np.concatenate(list(decoded_rows(model, tensor))).ravel()
    found = Scaling(round(float(stored.max())))
    if not np.allclose(stored, factors(found, theta, head_dim), rtol=1e-3):
        raise UnsupportedModel(
            f"{model.path}: tensor {FACTORS}: a scaled rotation other than Llama 3's, which cannot be exported"
        )
    return found


def factors(scaling: Scaling, theta: float, head_dim: int) -> npt.NDArray[np.float64]:
    """What each frequency is divided by, (head_dim / 2,). Dubey et al. 2024 and Meta's reference implementation."""
    frequencies = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    turns = scaling.original * frequencies / (2 * np.pi)
    share = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return np.asarray(1 / (share + (1 - share) / scaling.factor))
