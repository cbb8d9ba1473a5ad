"""The arguments of the commands on a GGUF model, and the checks that need no model."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from epi_protocol.events import DEFAULT_PORT

from ..errors import HookrunError
from .tracer import Stamps

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
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help="the prompt")
    prompt.add_argument("--prompt-file", type=Path, metavar="FILE", help="a file that holds the prompt")
    parser.add_argument("--chat", action="store_true", help="put the prompt into the model's own chat template")
    parser.add_argument("--tokens", type=whole(0), default=64, metavar="N", help="tokens to decode per request (64)")
    parser.add_argument("--repeat", type=whole(1), default=1, metavar="R", help="requests (1)")
    parser.add_argument("--warmup", type=whole(0), default=0, metavar="W", help="requests before them that do not count (0)")
    parser.add_argument("--idle", type=seconds, default=0.0, metavar="S", help="seconds of measured rest before and after (0)")
    parser.add_argument("--gap", type=seconds, default=0.0, metavar="S", help="seconds of measured rest between requests (0)")
    parser.add_argument("--ctx", type=whole(1), metavar="C", help="tokens of context (as many as needed)")
    parser.add_argument("--stamps", choices=["auto", *Stamps], default="auto", help="how layers are told apart (auto)")


def add_recording_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the measurement goes and what it is called."""
    parser.add_argument("--label", default="", metavar="L", help="what reports call this run (the model's file name)")
    parser.add_argument("--node", metavar="NAME", help="what the daemon calls this machine (its host name)")
    parser.add_argument("--daemon", metavar="ADDRESS", help=f"where the daemon listens ({DEFAULT_DAEMON}, unless --out is given)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="this node's key file, where the daemon asks for one")
    parser.add_argument("--no-daemon", action="store_true", help="measure without the daemon")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the run to a file")


def daemon_address(options: argparse.Namespace) -> str | None:
    """Return the daemon to talk to, or None."""
    if options.no_daemon and options.daemon:
        raise HookrunError("--daemon and --no-daemon exclude each other; leave one of them out")
    if options.no_daemon or (options.out is not None and options.daemon is None):
        return None
    return str(options.daemon or DEFAULT_DAEMON)


def prompt_text(options: argparse.Namespace) -> str:
    """Return the prompt; HookrunError where there is none."""
    if options.prompt_file is None:
        text, source = str(options.prompt), "--prompt"
    else:
        source = str(options.prompt_file)
        try:
            text = options.prompt_file.read_text(encoding="utf-8")
        except OSError as error:
            raise HookrunError(f"cannot read the prompt {source}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise HookrunError(f"the prompt {source} is not UTF-8 text") from None
    if not text.strip():
        raise HookrunError(f"the prompt from {source} is empty; give it at least one word")
    return text
