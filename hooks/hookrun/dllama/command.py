"""`hookrun dllama -- dllama inference …`: distributed-llama as it is, measured on the root and on each worker."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from .. import __version__
from ..arguments import add_condition_arguments, add_recording_arguments, open_recording, seconds
from ..clock import node_ns
from ..conditions import Conditions
from ..interruption import Interruption
from ..recording import Recording
from .child import Child
from .feed import Feed
from .invocation import Invocation, read_invocation
from .model_file import ModelFile, read_model_file
from .session import Ended, ProgramRun
from .shapes import check_shapes
from .shim import environment, find_shim, line_buffered
from .steps import step_plan
from .summary import as_map, as_text
from .watchdog import PATIENCE_S, Watchdog

_EXAMPLE = """examples:
  hookrun dllama -- dllama inference --model m.m --tokenizer t.t --prompt "Once upon a time." --steps 64 --workers 10.0.0.2:9999
  hookrun dllama --out worker.events -- dllama worker --port 9999 --nthreads 4
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
    parser.add_argument("--json", action="store_true", help="print the result as JSON, the program's own output on stderr")
    add_recording_arguments(parser)
    add_condition_arguments(parser)
    parser.add_argument("command", nargs="*", metavar="dllama …", help="the command as it is without hookrun, behind --")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return the exit code: the program's own."""
    invocation = read_invocation(options.command)
    model = None if invocation.model is None else read_model_file(invocation.model)
    if model is not None and not invocation.is_worker:
        check_shapes(model, invocation.nodes)
    with tempfile.TemporaryDirectory(prefix="hookrun-") as folder:
        shim = None if options.no_shim else find_shim(Path(folder))
        feed = None if shim is None else Feed()
        try:
            return _measured(options, invocation, model, shim, feed)
        finally:
            if feed is not None:
                feed.close()


def _measured(
    options: argparse.Namespace, invocation: Invocation, model: ModelFile | None, shim: Path | None, feed: Feed | None
) -> int:
    recording = open_recording(options, "distributed-llama")
    with Interruption(recording.courier) as interruption:
        conditions = Conditions(options, sleep=interruption.sleep)
        try:
            notices = [] if shim is not None or options.no_shim else [_NO_SHIM]
            _warn(*notices, *invocation.warnings(), *conditions.prepare())
            settings = _settings(invocation, shim) | conditions.settings
            label = options.label or (invocation.mode if model is None else model.path.name)
            recording.begin(label, settings, {} if model is None else model.to_map())
        except BaseException:
            recording.close()
            raise
        program = ProgramRun(
            recording.ring,
            feed,
            prompt=invocation.prompt,
            plan=None if model is None else step_plan(model, invocation.nodes),
            is_worker=invocation.is_worker,
            watchdog=Watchdog(options.watchdog),
            clock=node_ns,
        )
        ended = None
        try:
            with conditions.around(recording):
                ended = _follow(program, invocation, shim, feed, interruption, to_stderr=options.json)
        finally:
            # A worker serves until someone ends it; for a root that is giving up.
            complete = invocation.is_worker if ended is None else not (ended.frozen or ended.code)
            _tell(recording, program, ended, feed, settings, "complete" if complete else "aborted", as_json=options.json)
        return ended.code or int(ended.frozen)


def _follow(
    program: ProgramRun,
    invocation: Invocation,
    shim: Path | None,
    feed: Feed | None,
    interruption: Interruption,
    *,
    to_stderr: bool,
) -> Ended:
    inherited = dict(os.environ)
    if shim is not None and feed is not None:
        child = Child(invocation.command, environment(shim, feed.path, inherited), node_ns)
    else:
        child = Child(line_buffered(invocation.command), inherited, node_ns)
    stream = sys.stderr.buffer if to_stderr else sys.stdout.buffer

    def pass_on(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    try:
        return program.follow(child, pass_on, interruption)
    finally:
        child.stop()


def _tell(
    recording: Recording,
    program: ProgramRun,
    ended: Ended | None,
    feed: Feed | None,
    settings: dict[str, Any],
    status: str,
    *,
    as_json: bool,
) -> None:
    result = as_map(recording.end(status), program, ended, feed, settings)
    for problem in result["problems"]:
        print(f"hookrun: {problem}", file=sys.stderr)
    if as_json:
        print(json.dumps(result))
    else:
        print(as_text(result), file=sys.stderr)


def _settings(invocation: Invocation, shim: Path | None) -> dict[str, Any]:
    """Return what has to be equal for two runs to be comparable; paths of this machine are not."""
    return {
        "program": f"hookrun dllama {__version__}",
        "engine": "distributed-llama",
        "mode": invocation.mode,
        "arguments": list(invocation.command[1:]),
        "level": 1 if shim is None else 2,
        "nodes": None if invocation.is_worker else invocation.nodes,
        "threads": invocation.threads,
        "steps": invocation.steps,
        "cores": os.cpu_count(),
    }


def _warn(*sentences: str) -> None:
    for sentence in sentences:
        print(f"hookrun: warning: {sentence}", file=sys.stderr)
