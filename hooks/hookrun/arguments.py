"""Arguments that every measuring command takes: where the run goes, what it is called, and what is done around it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from epi_protocol.events import DEFAULT_PORT

from .errors import HookrunError
from .node.load_pattern import TOTAL_S, PatternOrder
from .node.settle import LEAST_S
from .sending.node_key import read_node_key
from .sending.recording import Recording

DEFAULT_DAEMON = f"tcp://127.0.0.1:{DEFAULT_PORT}"


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` on."""

    def read(text: str) -> int:
        number = int(text) if text.lstrip("-").isdecimal() else least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return number

    return read


def seconds(text: str) -> float:
    """Read a duration."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def pattern(text: str) -> PatternOrder:
    """Read which load pattern is to be played, and how long."""
    seed, comma, length = text.partition(",")
    return PatternOrder(whole(0)(seed), seconds(length) if comma else TOTAL_S)


def add_recording_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the measurement goes and what it is called."""
    group = parser.add_argument_group("where the run goes")
    group.add_argument("--label", default="", metavar="L", help="what reports call this run (the model's file name)")
    group.add_argument("--node", metavar="NAME", help="what the daemon calls this machine (its host name)")
    group.add_argument("--daemon", metavar="ADDRESS", help=f"where the daemon listens ({DEFAULT_DAEMON}, unless --out is given)")
    group.add_argument("--key", type=Path, metavar="FILE", help="this node's key file, where the daemon asks for one")
    group.add_argument("--no-daemon", action="store_true", help="measure without the daemon")
    group.add_argument("--out", type=Path, metavar="FILE", help="write the run to a file")


def add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is done around the run; Conditions reads it."""
    group = parser.add_argument_group("around the run")
    group.add_argument(
        "--settle",
        type=seconds,
        nargs="?",
        const=LEAST_S,
        metavar="S",
        help=f"wait until the temperature is stable, at least so many seconds ({LEAST_S:g})",
    )
    group.add_argument(
        "--load-pattern",
        type=pattern,
        metavar="SEED[,S]",
        help="load all cores pseudo-randomly for S (20) seconds before and after: `epid lag` finds the meter's delay in it",
    )
    group.add_argument("--no-telemetry", action="store_true", help="do not look at temperature, clock and supply rails meanwhile")


def daemon_address(options: argparse.Namespace) -> str | None:
    """Return the daemon to talk to, or None."""
    if options.no_daemon and options.daemon:
        raise HookrunError("--daemon and --no-daemon exclude each other; leave one of them out")
    if options.no_daemon or (options.out is not None and options.daemon is None):
        return None
    return str(options.daemon or DEFAULT_DAEMON)


def open_recording(options: argparse.Namespace, engine: str) -> Recording:
    """Return a recording to where the options say; `engine` is what the daemon is told of the program."""
    return Recording(
        engine=engine,
        node=options.node,
        daemon=daemon_address(options),
        out=options.out,
        key=None if options.key is None else read_node_key(options.key),
    )
