"""The arguments of the commands on a GGUF model, and the checks that need no model."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..arguments import seconds, whole
from ..errors import HookrunError
from .settings import BATCH_TOKENS, CACHE_TYPES, FLASH_ATTENTION, ContextSettings
from .tracer import Stamps


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command on a model takes."""
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="a GGUF file of a Llama-like model")
    parser.add_argument("--threads", type=whole(1), default=cores, metavar="T", help=f"threads (all cores: {cores})")
    repack = parser.add_argument("--repack", choices=["auto", "on", "off"], default="auto")
    repack.help = "keep weights in the layout that the engine's fastest kernels want (auto)"
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what goes into the model and how often."""
    group = parser.add_argument_group("what is run")
    prompt = group.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help="the prompt")
    prompt.add_argument(
        "--prompt-file", type=Path, metavar="PATH", help="a file that holds the prompt, or a folder of them (*.txt)"
    )
    group.add_argument("--chat", action="store_true", help="put the prompt into the model's own chat template")
    group.add_argument("--tokens", type=whole(0), default=64, metavar="N", help="tokens to decode per request (64)")
    group.add_argument("--stop-at-eos", action="store_true", help="end a request at the model's end mark (decode on)")
    group.add_argument("--repeat", type=whole(1), default=1, metavar="R", help="requests per prompt (1)")
    group.add_argument("--warmup", type=whole(0), default=0, metavar="W", help="requests before them that do not count (0)")
    group.add_argument("--idle", type=seconds, default=0.0, metavar="S", help="seconds of measured rest before and after (0)")
    group.add_argument("--gap", type=seconds, default=0.0, metavar="S", help="seconds of measured rest between requests (0)")


def add_context_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how the engine is set up."""
    group = parser.add_argument_group("the engine")
    group.add_argument("--ctx", type=whole(1), metavar="C", help="tokens of context (as many as needed)")
    batch = group.add_argument("--batch", type=whole(1), default=BATCH_TOKENS, metavar="B")
    batch.help = f"tokens of prompt per computation ({BATCH_TOKENS})"
    parallel = group.add_argument("--parallel", type=whole(1), default=1, metavar="P")
    parallel.help = "sequences computed side by side: so many prompts at a time, or a single one in all of them (1)"
    group.add_argument("--cache-type-k", choices=CACHE_TYPES, default="f16", help="type that keys are kept in (f16)")
    group.add_argument("--cache-type-v", choices=CACHE_TYPES, default="f16", help="type that values are kept in (f16)")
    group.add_argument("--flash-attn", choices=FLASH_ATTENTION, default="auto", help="flash attention (auto)")
    group.add_argument("--stamps", choices=["auto", *Stamps], default="auto", help="how layers are told apart (auto)")
    check = group.add_argument("--overhead-check", action="store_true")
    check.help = "measure first what the stamps cost here, by switching them on and off, and write it into the run's settings"
    group.add_argument("--rpc", metavar="HOST:PORT,…", help="put the layers on these machines, each running hookrun rpc-server")


def context_settings(options: argparse.Namespace, tokens: int) -> ContextSettings:
    """Return the settings of a context of so many tokens; HookrunError where they contradict each other."""
    settings = ContextSettings(
        tokens,
        options.threads,
        options.batch,
        options.cache_type_k,
        options.cache_type_v,
        options.flash_attn,
        options.parallel,
    )
    settings.check()
    if options.parallel > 1 and options.stop_at_eos:
        raise HookrunError("--parallel computes as many tokens in each sequence; leave out --stop-at-eos")
    return settings


def prompt_texts(options: argparse.Namespace) -> list[str]:
    """Return the prompts; HookrunError where there is none, or not as many as sequences side by side take."""
    if options.prompt_file is None:
        return [_not_empty(str(options.prompt), "--prompt")]
    files = _files(options.prompt_file)
    if len(files) > 1 and len(files) % options.parallel:
        raise HookrunError(
            f"{options.prompt_file} holds {len(files)} prompts, and --parallel {options.parallel} takes as many at once; "
            "give a multiple of it, or a single prompt for all sequences"
        )
    return [_not_empty(_text(file), str(file)) for file in files]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.txt"))
    if not files:
        raise HookrunError(f"the folder {path} holds no prompt; put each into a file of its own, named *.txt")
    return files


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise HookrunError(f"cannot read the prompt {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise HookrunError(f"the prompt {file} is not UTF-8 text") from None


def _not_empty(text: str, source: str) -> str:
    if not text.strip():
        raise HookrunError(f"the prompt from {source} is empty; give it at least one word")
    return text
