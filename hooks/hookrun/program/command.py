"""`hookrun run -- program …`, for which `hookrun -- program …` is short."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from ..arguments import add_condition_arguments, add_recording_arguments, daemon_address
from ..errors import HookrunError
from ..node.conditions import Conditions
from ..sending.node_key import read_node_key
from .launch import CannotStart, become, find
from .ledger import Ledger
from .spec import ProgramSpec, Repetition

NAME = "run"

_EXAMPLES = """examples:
  hookrun -- python generate.py --prompt "The capital of France is"
  hookrun --out base.events --label base -- python -m mybench --tokens 64
  hookrun --detail layer --repeat-layers random:7 --no-daemon --out r.events -- my-entry-point

what follows -- is the command as it is without hookrun; its output, exit code and signals stay its own
"""


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        NAME,
        prog="hookrun",  # the word is hardly ever written
        help="run any program, and measure the models it calls (the word may be left out)",
        usage="hookrun [options] -- program [arguments]",
        description="Runs a program unchanged, and notes when requests, tokens and layers of its PyTorch or llama.cpp model ran.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_recording_arguments(parser)
    add_condition_arguments(parser)
    parser.add_argument(
        "--detail", choices=["layer", "halves"], default="halves", help="whole layers, or attention and MLP (halves)"
    )
    repeated = parser.add_mutually_exclusive_group()
    repeat = repeated.add_argument("--repeat-layers", type=_repetition, metavar="random:SEED[,TIMES]")
    repeat.help = "PyTorch: compute a randomly drawn layer again in about every second token, and discard the result"
    halves = repeated.add_argument("--repeat-halves", type=_repetition, metavar="random:SEED[,TIMES]")
    halves.help = "the same, but every second time its attention half alone, so that both halves can be told apart"
    check = parser.add_argument("--overhead-check", action="store_true")
    check.help = "PyTorch: look into layers in some blocks of tokens only, so that the run holds its own comparison of on and off"
    parser.add_argument("--children", action="store_true", help="also follow Python programs that the program starts")
    parser.add_argument("--quiet", action="store_true", help="say nothing where nothing is wrong")
    parser.add_argument("command", nargs="*", metavar="program", help="the program and its arguments, behind --")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Become the program; returns only if it cannot be started."""
    if not options.command:
        raise HookrunError("no program to run; put it behind --, as in: hookrun -- python script.py")
    try:
        path = find(options.command)
        spec = _spec(options)
        _try_daemon(spec)
        conditions = Conditions(options)
        for warning in conditions.prepare():
            print(f"hookrun: warning: {warning}", file=sys.stderr)
        spec = replace(spec, ledger=str(Ledger.create().folder), conditions=conditions.settings)
        become(path, spec)
    except CannotStart as error:
        print(f"hookrun: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"hookrun: cannot start {options.command[0]}: {error.strerror}", file=sys.stderr)
        return 126


def _spec(options: argparse.Namespace) -> ProgramSpec:
    out = None if options.out is None else options.out.absolute()
    if out is not None and not os.access(out.parent, os.W_OK):
        raise HookrunError(f"cannot write {out}: its folder is missing or closed to you")
    return ProgramSpec(
        ledger="",
        label=options.label,
        command=tuple(options.command),
        daemon=daemon_address(options),
        key=None if options.key is None else str(options.key.absolute()),
        node=options.node,
        out=None if out is None else str(out),
        detail=options.detail,
        repetition=_chosen(options),
        overhead_check=options.overhead_check,
        children=options.children,
        quiet=options.quiet,
        load_pattern=None if options.load_pattern is None else astuple(options.load_pattern),
        telemetry=not options.no_telemetry,
        pythonpath=os.environ.get("PYTHONPATH"),
    )


def _try_daemon(spec: ProgramSpec) -> None:
    """Ask now whether the daemon would take the run: once the program runs, it is too late to do something about it."""
    if spec.daemon is None:
        return
    from ..sending.recording import Recording

    key = None if spec.key is None else read_node_key(Path(spec.key))
    Recording(engine="none yet", node=spec.node, daemon=spec.daemon, key=key).close()


def _chosen(options: argparse.Namespace) -> Repetition | None:
    halves: Repetition | None = options.repeat_halves
    if halves is None:
        return options.repeat_layers
    if options.detail == "layer":
        raise HookrunError("--repeat-halves needs the halves: leave out --detail layer, or take --repeat-layers")
    return replace(halves, halves=True)


def _repetition(text: str) -> Repetition:
    kind, _, numbers = text.partition(":")
    seed, _, times = numbers.partition(",")
    if kind != "random" or not seed.isdecimal() or not (times or "1").isdecimal() or times.strip("0") == "" != times:
        raise argparse.ArgumentTypeError(f"{text!r} is not random:SEED or random:SEED,TIMES")
    return Repetition(int(seed), int(times or 1))
