"""Attention-head surgery: rank, plan, cut, prove, on GGUF files and in PyTorch."""

from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def load(path: Path | str, dtype: Any = None) -> Any:
    """A model that `epi-surgery cut` wrote as a folder, ready for `generate`; `dtype` is torch's, None for the stored one.

    Imports torch and transformers only now. Raises SurgeryError for a folder that is not a whole checkpoint.
    """
    from epi_surgery.torch_cut.checkpoint import load as load_checkpoint

    return load_checkpoint(path, dtype)
