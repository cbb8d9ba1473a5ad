"""`hookrun overhead`: what the stamps cost, measured by switching them on and off inside one process."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from typing import Any

from ..arguments import whole
from ..comparison import BASELINE, Arm, compare, spread_text
from ..errors import HookrunError
from ..interruption import Interruption
from ..progress import Bar
from ..sending.recording import Recording
from .arguments import add_model_arguments
from .bench import CONTEXT_TOKENS, Bench
from .loading import engine_version, load_engine, set_wait_policy
from .model import open_model
from .settings import ContextSettings
from .tracer import Stamps

TOKENS = 16
"""Per round; about as many as a small model decodes until their spans are written."""
_EXAMPLE = """examples:
  hookrun overhead --model m.gguf --threads 1 --rounds 200
  hookrun overhead --model m.gguf --threads 1 --rounds 400 --stamps abort
  hookrun overhead --torch --model m.gguf --threads 1 --rounds 100
"""


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "overhead",
        help="measure what the stamps cost",
        description="Decodes with each kind of stamps in random order, round by round, and compares each with none at all.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(parser)
    parser.add_argument("--rounds", type=whole(2), default=100, metavar="N", help="rounds (100)")
    parser.add_argument("--tokens", type=whole(1), metavar="N", help="tokens per round and kind of stamps (16; torch: 1)")
    parser.add_argument("--seed", type=whole(0), default=1, metavar="N", help="of the order within the rounds (1)")
    parser.add_argument("--stamps", choices=list(Stamps), help="this kind of stamps only (all)")
    parser.add_argument("--torch", action="store_true", help="measure the hooks in PyTorch; then MODEL may also be a folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return the exit code."""
    if options.torch:
        from ..pytorch.overhead import run as run_torch

        return run_torch(options)
    wait_policy = set_wait_policy()
    recording = Recording(engine=engine_version())  # of nothing; its thread takes signals while the engine computes
    bar = Bar(sys.stderr, "comparing", "rounds")
    try:
        with Interruption(recording.courier) as interruption:
            result = _compare(options, interruption.checked(bar))
    finally:
        bar.clear()
        recording.close()
    result["omp_wait_policy"] = wait_policy
    print(json.dumps(result) if options.json else _text(result))
    return 0


def _compare(options: argparse.Namespace, progress: Callable[[int, int], None]) -> dict[str, Any]:
    model = open_model(options.model)
    engine, warnings = load_engine(options.model, options.repack)
    for warning in warnings:
        print(f"hookrun: warning: {warning}", file=sys.stderr)
    bench = Bench(engine, model, ContextSettings(CONTEXT_TOKENS, options.threads), options.tokens or TOKENS)
    ratios = compare(_arms(bench, options.stamps), options.rounds, random.Random(options.seed), progress, turns=bench.tokens)
    return {
        "model": model.file,
        "engine": engine.version,
        "repack": engine.repack,
        "threads": options.threads,
        "tokens": bench.tokens,
        "rounds": options.rounds,
        "spans_per_token": bench.spans_per_token,
        "spans_lost": bench.spans_lost,
        "arms": [ratio.to_map() for ratio in ratios],
    }


def _arms(bench: Bench, only: str | None) -> list[Arm]:
    """Return the baseline, the baseline once more (so that the noise is seen), and each kind of stamps."""
    arms = [bench.bare(BASELINE), bench.bare("nothing, again")]
    if only in (None, Stamps.OFF):
        arms.append(bench.stamped("tokens only", Stamps.OFF))
    for mode in (Stamps.ABORT, Stamps.EVAL):
        for compiled, language in ((True, "C"), (False, "Python")) if only in (None, mode) else ():
            try:
                arms.append(bench.stamped(f"{mode} in {language}", mode, compiled=compiled))
            except HookrunError as error:
                print(f"hookrun: warning: {error}", file=sys.stderr)
    return arms


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['model']}, {result['threads']} threads, {result['rounds']} rounds of {result['tokens']} tokens; "
        "tokens/s relative to nothing, median [95 % interval]",
        f"  {'stamps':16} {'by the clock':26} {'by processor time':26} {'ms/token':>9} {'CPU ms':>9} {'spans':>6}",
    ]
    for arm in result["arms"]:
        wall, cpu = spread_text(arm["wall"]), spread_text(arm["cpu"])
        per_token = [arm[key] / result["tokens"] for key in ("wall_ms", "cpu_ms")]
        spans = result["spans_per_token"].get(arm["name"], 0)
        lines.append(f"  {arm['name']:16} {wall:26} {cpu:26} {per_token[0]:9.3f} {per_token[1]:9.3f} {spans:6.1f}")
    lines.append(f"  {result['spans_lost']} spans lost")
    return "\n".join(lines)
