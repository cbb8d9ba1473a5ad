"""The daemon that records a measurement, and the analysis that turns it into joules.

Two sides that meet only in the run file: `epid.daemon` takes bytes and writes them down; `epid.analysis` and `epid.report`
read run files and never talk to a meter. `epid.record` is the file, `epid.clocks` the one clock estimator of both sides.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`epid.Client` loads ZeroMQ when it is first asked for, and not before."""
    if name in ("Client", "Measurement"):
        return getattr(import_module("epid.client"), name)
    raise AttributeError(f"module 'epid' has no attribute {name!r}")
