"""`hookrun llama`: runs prompts through a GGUF model a given number of times, measured."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..arguments import add_condition_arguments, add_recording_arguments, open_recording
from ..interruption import Interruption
from ..node.conditions import Conditions
from .arguments import add_context_arguments, add_model_arguments, add_prompt_arguments, context_settings, prompt_texts
from .job import Job
from .loading import engine_version, set_wait_policy

_EXAMPLE = """examples:
  hookrun llama --model m.gguf --prompt "The capital of France is" --tokens 64 --repeat 5 --warmup 1 --idle 5
  hookrun llama --model m.gguf --prompt-file prompts/ --chat --stop-at-eos --settle --load-pattern 1
  hookrun llama --model m.gguf --prompt-file prompts/ --parallel 4 --tokens 64
  hookrun llama --model m.gguf --prompt "Hello" --rpc 192.168.7.2:50052,192.168.7.3:50052
"""


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "llama",
        help="run a GGUF model through llama.cpp, measured",
        description="Decodes greedily, unless told otherwise for a fixed number of tokens: every request is then the same work.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(parser)
    add_prompt_arguments(parser)
    add_context_arguments(parser)
    add_recording_arguments(parser)
    add_condition_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return the exit code."""
    prompts, wait_policy = prompt_texts(options), set_wait_policy()
    context_settings(options, tokens=0)  # what contradicts itself is told before a model is loaded
    recording = open_recording(options, engine_version())
    with Interruption(recording.courier) as interruption:
        try:
            job = Job(options, prompts, interruption)
            conditions = Conditions(options, sleep=interruption.sleep)
            _warn(*job.warnings, *conditions.prepare())
            settings = {**job.settings, "omp_wait_policy": wait_policy, **conditions.settings}
            recording.begin(options.label or job.model.file, settings, job.model.to_map())
        except BaseException:
            recording.close()
            raise
        try:
            with conditions.around(recording):
                job.measure(recording, interruption)
        except BaseException:
            job.close(recording, settings, "aborted", as_json=options.json)
            raise
        return job.close(recording, settings, "complete", as_json=options.json)


def _warn(*sentences: str) -> None:
    for sentence in sentences:
        print(f"hookrun: warning: {sentence}", file=sys.stderr)
