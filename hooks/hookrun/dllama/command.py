"""`hookrun dllama -- dllama inference …`: distributed-llama as it is, measured on the root and on each worker."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..arguments import add_condition_arguments, add_recording_arguments, open_recording, seconds, whole
from ..errors import HookrunError
from ..interruption import Interruption
from ..node.conditions import Conditions
from ..progress import Bar
from ..sending.recording import Recording
from . import overhead
from .invocation import read_invocation
from .program import Program
from .session import Ended, ProgramRun
from .shim import find_shim
from .summary import as_map, as_text
from .watchdog import PATIENCE_S

_EXAMPLE = """examples:
  hookrun dllama -- dllama inference --model m.m --tokenizer t.t --prompt "Once upon a time." --steps 64 --workers 10.0.0.2:9999
  hookrun dllama --out worker.events -- dllama worker --port 9999 --nthreads 4
  hookrun dllama --overhead 20 -- dllama inference --model m.m --tokenizer t.t --prompt "Once upon a time." --steps 64
"""
_NO_SHIM = (
    "the shim is not built and there is no C compiler for it (apt install gcc): this run has tokens and phases, and no layers"
)


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "dllama",
        help="run distributed-llama, measured, as root or as worker",
        usage="hookrun dllama [options] -- dllama inference|worker …",
        description="Runs the command unchanged and reads its output; a preloaded shim adds the times of layers and exchanges.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--no-shim", action="store_true", help="only read the program's output: tokens and phases, no layers")
    watchdog = parser.add_argument("--watchdog", type=seconds, default=PATIENCE_S, metavar="S")
    watchdog.help = f"stop a root on which nothing has moved for so long ({PATIENCE_S:g}; 0: never)"
    overhead_rounds = parser.add_argument("--overhead", type=whole(2), metavar="ROUNDS")
    overhead_rounds.help = "record nothing; run the command with and without the shim in random order, and compare the tokens/s"
    operations = parser.add_argument("--operations", type=Path, metavar="FILE")
    operations.help = "write the mean time of each operation per token as a table (CSV)"
    parser.add_argument("--json", action="store_true", help="print the result as JSON, the program's own output on stderr")
    add_recording_arguments(parser)
    add_condition_arguments(parser)
    parser.add_argument("command", nargs="*", metavar="dllama …", help="the command as it is without hookrun, behind --")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return the exit code: the program's own."""
    invocation = read_invocation(options.command)
    with tempfile.TemporaryDirectory(prefix="hookrun-") as folder:
        shim = None if options.no_shim else find_shim(Path(folder))
        with Program(invocation, shim, options.watchdog) as program:
            if options.operations:
                program.collect_times()
            return _compared(options, program) if options.overhead else _measured(options, program)


def _measured(options: argparse.Namespace, program: Program) -> int:
    recording = open_recording(options, "distributed-llama")
    with Interruption(recording.courier) as interruption:
        conditions = Conditions(options, sleep=interruption.sleep)
        try:
            notices = [] if program.shim is not None or options.no_shim else [_NO_SHIM]
            _warn(*notices, *program.invocation.warnings(), *conditions.prepare())
            settings = program.settings() | conditions.settings
            recording.begin(options.label or program.label, settings, program.model_map())
        except BaseException:
            recording.close()
            raise
        run = program.new_run(recording.ring)
        stream = sys.stderr.buffer if options.json else sys.stdout.buffer
        ended = None
        try:
            with conditions.around(recording):
                ended = program.follow(run, interruption, stream)
        finally:
            # A worker serves until someone ends it; for a root that is giving up.
            complete = program.invocation.is_worker if ended is None else not (ended.frozen or ended.code)
            _tell(recording, program, run, ended, settings, "complete" if complete else "aborted", as_json=options.json)
        if program.times is not None:
            program.times.write(options.operations)
        return ended.code or int(ended.frozen)


def _compared(options: argparse.Namespace, program: Program) -> int:
    if program.invocation.is_worker or program.shim is None:
        raise HookrunError("--overhead compares a root with and without its shim; this is a worker, or there is no shim")
    recording = Recording(engine="distributed-llama")
    bar = Bar(sys.stderr, "comparing", "rounds")
    try:
        with Interruption(recording.courier) as interruption:
            recording.begin("overhead", {}, {})

            def arrivals_ns(*, shimmed: bool) -> list[int]:
                run = program.new_run(recording.ring, shimmed=shimmed)
                program.follow(run, interruption, None)
                return run.arrivals_ns

            result = overhead.compare(
                lambda: arrivals_ns(shimmed=False),
                lambda: arrivals_ns(shimmed=True),
                options.overhead,
                random.Random(options.overhead),
                interruption.checked(bar),
            )
    finally:
        bar.clear()
        recording.close()
    print(json.dumps(result) if options.json else overhead.as_text(result))
    return 0


def _tell(
    recording: Recording,
    program: Program,
    run: ProgramRun,
    ended: Ended | None,
    settings: dict[str, Any],
    status: str,
    *,
    as_json: bool,
) -> None:
    result = as_map(recording.end(status), run, ended, program.feed, settings)
    for problem in result["problems"]:
        print(f"hookrun: {problem}", file=sys.stderr)
    if as_json:
        print(json.dumps(result))
    else:
        print(as_text(result), file=sys.stderr)


def _warn(*sentences: str) -> None:
    for sentence in sentences:
        print(f"hookrun: warning: {sentence}", file=sys.stderr)
