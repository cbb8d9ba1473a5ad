"""What happens around a run inside a program: the load pattern where it is asked for, and looks at the node."""

from __future__ import annotations

import argparse

from ..node.conditions import Conditions
from ..node.load_pattern import PatternOrder
from ..node.probe import NodeProbe
from .ledger import Ledger
from .relay import RelayedFirmware
from .spec import ProgramSpec


def surroundings(spec: ProgramSpec) -> Conditions:
    """Return what surrounds the run; what comes before it has happened before the program started."""
    pattern = None if spec.load_pattern is None else PatternOrder(*spec.load_pattern)
    options = argparse.Namespace(settle=None, load_pattern=pattern, no_telemetry=not spec.telemetry)
    return Conditions(options, probe=NodeProbe(firmware=RelayedFirmware(Ledger.of(spec).firmware)))
