"""A measured run of a model: everything loaded and checked, then run, then told."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..comparison import BASELINE, compare
from ..errors import HookrunError
from ..interruption import Interruption
from ..progress import Bar
from ..sending.recording import Recording
from .arguments import context_settings
from .bench import CONTEXT_TOKENS, Bench
from .instrument import Instrument, instrument
from .loading import load_engine
from .model import Model, open_model
from .remote import endpoints
from .runner import Request, Runner, Workload
from .settings import ContextSettings, Row
from .summary import as_map, as_text
from .tracer import Stamps, Stopped

if TYPE_CHECKING:
    from .engine import Engine

CONTEXT_STEP = 256
"""The engine rounds contexts up to a multiple of this."""
CHECK_ROUNDS, CHECK_TOKENS = 20, 8


class Job:
    """Loads and checks all that the options name when it is made; `measure` runs it, `close` tells what came out."""

    def __init__(self, options: argparse.Namespace, prompts: Sequence[str], interruption: Interruption) -> None:
        bar = Bar(sys.stderr, "hashing the model", "bytes")
        self.model = open_model(options.model, interruption.checked(bar))
        bar.clear()
        servers = endpoints(options.rpc) if options.rpc else ()
        self._engine, warnings = load_engine(options.model, options.repack, lambda: not interruption.requested, servers)
        tokens = _tokens(options, self._engine, prompts)
        self._work = _workload(options, tokens)
        context = context_settings(options, _context_tokens(options, self.model, self._work))
        self._made = _instrument(options, self._engine, context, self.model)
        self._ends_early: bool = options.stop_at_eos
        self._requests: list[Request] = []
        self.settings = _settings(options, self._engine, self._made, tokens, context)
        if options.overhead_check:
            self.settings["overhead_check"] = self._overhead(context, interruption)
        self.warnings = (*self.model.provenance.notices, *warnings, *self._made.warnings)
        interruption.check()

    def measure(self, recording: Recording, interruption: Interruption) -> None:
        """Run the workload; Interrupted as soon as a signal comes, also within a computation."""
        bar = Bar(sys.stderr, "decoding", "tokens")
        progress = interruption.checked(bar)
        ends = self._engine.is_end if self._ends_early else None
        runner = Runner(self._made, recording.ring, sleep=interruption.sleep, ends=ends, progress=progress)
        self._requests = runner.requests
        interruption.stops(self._made.tracer.stop)
        try:
            runner.run(self._work)
        except Stopped:
            interruption.check()
            raise
        finally:
            bar.clear()

    def close(self, recording: Recording, settings: Mapping[str, Any], status: str, *, as_json: bool) -> int:
        """Close the run, print what came of it, and return the exit code; `settings` are all that the run was begun with."""
        outcome = recording.end(status)
        result = as_map(outcome, self._requests, settings, self.model.to_map())
        unmapped = self._made.tracer.unmapped
        if unmapped:
            result["problems"].append(f"{unmapped} computations made other calls than the planned ones and have no layer spans")
        for problem in result["problems"]:
            print(f"hookrun: {problem}", file=sys.stderr)
        text = self._engine.text(self._requests[0].tokens) if self._requests else ""
        print(json.dumps({**result, "text": text}) if as_json else as_text(result, text))
        return 1 if result["problems"] else 0

    def _overhead(self, context: ContextSettings, interruption: Interruption) -> dict[str, Any]:
        """Return what this run's stamps cost here and now: tokens/s with them over tokens/s with nothing."""
        bar = Bar(sys.stderr, "checking the overhead", "rounds")
        mode, compiled = self._made.tracer.mode, self._made.tracer.by == "C"
        bench = Bench(self._engine, self.model, replace(context, tokens=CONTEXT_TOKENS), CHECK_TOKENS)
        arms = [bench.bare(BASELINE), bench.stamped("stamps", mode, compiled=compiled if mode is not Stamps.OFF else None)]
        order = random.Random(CHECK_ROUNDS)
        try:
            _baseline, found = compare(arms, CHECK_ROUNDS, order, interruption.checked(bar), turns=CHECK_TOKENS)
        finally:
            bar.clear()
        return found.to_map()


def _workload(options: argparse.Namespace, prompts: Sequence[tuple[int, ...]]) -> Workload:
    return Workload(
        prompts=tuple(_side_by_side(prompts, options.parallel)),
        tokens=options.tokens,
        repeat=options.repeat,
        warmup=options.warmup,
        idle_s=options.idle,
        gap_s=options.gap,
        chunk=context_settings(options, 0).chunk,
    )


def _tokens(options: argparse.Namespace, engine: Engine, prompts: Sequence[str]) -> list[tuple[int, ...]]:
    texts = [engine.chat(prompt) for prompt in prompts] if options.chat else prompts
    return [tuple(engine.tokenize(text, special=options.chat)) for text in texts]


def _side_by_side(prompts: Sequence[tuple[int, ...]], sequences: int) -> Iterator[tuple[Row, ...]]:
    """Yield what each request begins with: a prompt, also where all sequences get the same one, or one for each sequence."""
    if sequences == 1 or len(prompts) == 1:
        yield from prompts
        return
    from .side_by_side import rows

    for first in range(0, len(prompts), sequences):
        yield rows(prompts[first : first + sequences])


def _context_tokens(options: argparse.Namespace, model: Model, work: Workload) -> int:
    longest = max(map(len, work.prompts))
    needed = longest + work.tokens
    wanted: int = options.ctx or -(-needed // CONTEXT_STEP) * CONTEXT_STEP
    parts = f"{longest} tokens of prompt and {work.tokens} to decode"
    if options.ctx and needed > wanted:
        raise HookrunError(f"{parts} do not fit into --ctx {wanted}; give at least {needed}")
    if max(needed, options.ctx or 0) > model.n_ctx_train:
        raise HookrunError(
            f"{parts} need a context of {max(needed, wanted)}, and {model.file} was trained for {model.n_ctx_train}"
        )
    return wanted


def _instrument(options: argparse.Namespace, engine: Engine, context: ContextSettings, model: Model) -> Instrument:
    mode = None if options.stamps == "auto" else Stamps(options.stamps)
    remote = any(place != "local" for place in engine.placement)
    return instrument(engine, context, mode, without_attention=model.without_attention, remote=remote)


def _settings(
    options: argparse.Namespace, engine: Engine, made: Instrument, prompts: Sequence[Sequence[int]], context: ContextSettings
) -> dict[str, Any]:
    """Return what has to be equal for two runs to be comparable."""
    lengths = [len(prompt) for prompt in prompts]
    return {
        "program": f"hookrun llama {__version__}",
        "engine": engine.version,
        "engine_system": engine.system,
        "repack": engine.repack,
        "placement": list(engine.placement),
        "threads": context.threads,
        "ctx": context.tokens,
        "batch": context.batch,
        "parallel": context.sequences,
        "cache_type_k": context.cache_type_k,
        "cache_type_v": context.cache_type_v,
        "flash_attn": context.flash_attn,
        "prompt_tokens": lengths[0] if len(lengths) == 1 else lengths,
        "tokens": options.tokens,
        "stop_at_eos": options.stop_at_eos,
        "repeat": options.repeat,
        "warmup": options.warmup,
        "idle_s": options.idle,
        "gap_s": options.gap,
        "chat": options.chat,
        "stamps": {
            "mode": str(made.tracer.mode),
            "by": made.tracer.by,
            "calls_per_token": made.plans.decode.calls if made.plans is not None else 0,
        },
        "cores": os.cpu_count(),
    }
