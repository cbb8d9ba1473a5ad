"""Random numbers by name: the same seed gives the same layers in every arm, and other noise in every run."""

from __future__ import annotations

import zlib

import numpy as np


def draws(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the names alone."""
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def around(rng: np.random.Generator, spread: float, size: int | None = None) -> np.ndarray:
    """Factors of mean 1 and relative standard deviation `spread`, log-normal: never below 0. Shape (size,), or a scalar."""
    if spread <= 0:
        return np.asarray(np.ones(size) if size is not None else 1.0)
    sigma = np.sqrt(np.log1p(spread**2))
    return np.asarray(rng.lognormal(-(sigma**2) / 2, sigma, size))
