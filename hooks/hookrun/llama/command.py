"""`hookrun llama`: runs a prompt through a GGUF model a given number of times, measured."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import HookrunError
from ..interruption import Interruption
from ..node_key import read_node_key
from ..progress import Bar
from ..recording import Recording
from ..ring import SpanRing
from .arguments import add_model_arguments, add_prompt_arguments, add_recording_arguments, daemon_address, prompt_text
from .instrument import Instrument, instrument
from .loading import engine_version, load_engine, set_wait_policy
from .model import Model, open_model
from .runner import Request, Runner, Workload
from .summary import as_map, as_text
from .tracer import Stamps, Stopped

if TYPE_CHECKING:
    from .engine import Engine

CONTEXT_STEP = 256
"""The engine rounds contexts up to a multiple of this."""

_EXAMPLE = """example:
  hookrun llama --model m.gguf --prompt "The capital of France is" --tokens 64 --repeat 5 --warmup 1 --idle 5
"""


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "llama",
        help="run a GGUF model through llama.cpp, measured",
        description="Decodes greedily for a fixed number of tokens, end marks ignored, so that every request is the same work.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(parser)
    add_prompt_arguments(parser)
    add_recording_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return the exit code."""
    prompt, wait_policy = prompt_text(options), set_wait_policy()
    recording = Recording(
        engine=engine_version(),
        node=options.node,
        daemon=daemon_address(options),
        out=options.out,
        key=None if options.key is None else read_node_key(options.key),
    )
    with Interruption(recording.courier) as interruption:
        try:
            job = _prepare(options, prompt, wait_policy, interruption)
            recording.begin(options.label or job.model.file, job.settings, job.model.to_map())
        except BaseException:
            recording.close()
            raise
        try:
            job.measure(recording.ring, interruption)
        except BaseException:
            job.close(recording, "aborted", as_json=options.json)
            raise
        return job.close(recording, "complete", as_json=options.json)


def _prepare(options: argparse.Namespace, prompt: str, wait_policy: str, interruption: Interruption) -> _Job:
    bar = Bar(sys.stderr, "hashing the model", "bytes")
    model = open_model(options.model, interruption.checked(bar))
    bar.clear()
    engine, warnings = load_engine(options.model, options.repack, lambda: not interruption.requested)
    work = _workload(options, engine, prompt)
    context = _context_tokens(options, model, work)
    from .engine import ContextSettings

    mode = None if options.stamps == "auto" else Stamps(options.stamps)
    made = instrument(engine, ContextSettings(context, options.threads), mode, without_attention=model.without_attention)
    interruption.check()
    for warning in (*warnings, *made.warnings):
        print(f"hookrun: warning: {warning}", file=sys.stderr)
    return _Job(engine, model, made, work, _settings(options, engine, made, work, context, wait_policy))


class _Job:
    """Everything is loaded and checked; what remains is to run it and to tell what came out."""

    def __init__(self, engine: Engine, model: Model, made: Instrument, work: Workload, settings: dict[str, Any]) -> None:
        self.model, self.settings = model, settings
        self._engine, self._made, self._work = engine, made, work
        self._requests: list[Request] = []

    def measure(self, ring: SpanRing, interruption: Interruption) -> None:
        """Run the workload; Interrupted as soon as a signal comes, also within a computation."""
        bar = Bar(sys.stderr, "decoding", "tokens")
        runner = Runner(self._made, ring, sleep=interruption.sleep, progress=interruption.checked(bar))
        self._requests = runner.requests
        interruption.stops(self._made.tracer.stop)
        try:
            runner.run(self._work)
        except Stopped:
            interruption.check()
            raise
        finally:
            bar.clear()

    def close(self, recording: Recording, status: str, *, as_json: bool) -> int:
        """Close the run, print what came of it, and return the exit code."""
        outcome = recording.end(status)
        result = as_map(outcome, self._requests, self.settings, self.model.to_map())
        unmapped = self._made.tracer.unmapped
        if unmapped:
            result["problems"].append(f"{unmapped} computations made other calls than the planned ones and have no layer spans")
        for problem in result["problems"]:
            print(f"hookrun: {problem}", file=sys.stderr)
        text = self._engine.text(self._requests[0].tokens) if self._requests else ""
        print(json.dumps({**result, "text": text}) if as_json else as_text(result, text))
        return 1 if result["problems"] else 0


def _workload(options: argparse.Namespace, engine: Engine, prompt: str) -> Workload:
    from .engine import BATCH_TOKENS

    tokens = engine.tokenize(engine.chat(prompt) if options.chat else prompt, special=options.chat)
    return Workload(
        prompt=tuple(tokens),
        tokens=options.tokens,
        repeat=options.repeat,
        warmup=options.warmup,
        idle_s=options.idle,
        gap_s=options.gap,
        batch=BATCH_TOKENS,
    )


def _context_tokens(options: argparse.Namespace, model: Model, work: Workload) -> int:
    needed = len(work.prompt) + work.tokens
    wanted: int = options.ctx or -(-needed // CONTEXT_STEP) * CONTEXT_STEP
    parts = f"{len(work.prompt)} tokens of prompt and {work.tokens} to decode"
    if options.ctx and needed > wanted:
        raise HookrunError(f"{parts} do not fit into --ctx {wanted}; give at least {needed}")
    if max(needed, options.ctx or 0) > model.n_ctx_train:
        raise HookrunError(
            f"{parts} need a context of {max(needed, wanted)}, and {model.file} was trained for {model.n_ctx_train}"
        )
    return wanted


def _settings(
    options: argparse.Namespace, engine: Engine, made: Instrument, work: Workload, context: int, wait_policy: str
) -> dict[str, Any]:
    """Return what has to be equal for two runs to be comparable."""
    return {
        "program": f"hookrun llama {__version__}",
        "engine": engine.version,
        "engine_system": engine.system,
        "repack": engine.repack,
        "threads": options.threads,
        "ctx": context,
        "prompt_tokens": len(work.prompt),
        "tokens": work.tokens,
        "repeat": work.repeat,
        "warmup": work.warmup,
        "idle_s": work.idle_s,
        "gap_s": work.gap_s,
        "chat": options.chat,
        "stamps": {
            "mode": str(made.tracer.mode),
            "by": made.tracer.by,
            "calls_per_token": made.plans.decode.calls if made.plans is not None else 0,
        },
        "omp_wait_policy": wait_policy,
        "cores": os.cpu_count(),
    }
