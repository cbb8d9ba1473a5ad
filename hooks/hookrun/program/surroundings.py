"""What happens around a run inside a program: the load pattern where it is asked for, and looks at the node from files alone."""

from __future__ import annotations

import argparse

from ..node.conditions import Conditions
from ..node.probe import NodeProbe
from ..node.vcgencmd import Vcgencmd
from .spec import ProgramSpec


class Unasked(Vcgencmd):
    """A firmware that is asked nothing: its command would be a child of the program, which may wait for its children.

    So the Pi's supply rails are missing from the telemetry of a program; temperature, clock, load and memory are files.
    """

    def _ask(self, _question: str) -> str:
        return ""


def surroundings(spec: ProgramSpec) -> Conditions:
    """Return what surrounds the run; what comes before it has happened before the program started."""
    options = argparse.Namespace(settle=None, load_pattern=spec.load_pattern, no_telemetry=not spec.telemetry)
    return Conditions(options, probe=NodeProbe(vcgencmd=Unasked()))
