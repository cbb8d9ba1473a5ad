"""The command `hookrun`: parses, and turns what goes wrong into one sentence and an exit code."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from . import __version__
from .errors import HookrunError, Interrupted

EXIT_FAILURE = 1

_EXAMPLES = """examples:
  hookrun -- python generate.py --prompt "The capital of France is"
  hookrun llama --model m.gguf --prompt "The capital of France is" --tokens 64 --repeat 5 --idle 5
  hookrun llama --model m.gguf --prompt-file prompt.txt --tokens 64 --out run.events
  hookrun dllama -- dllama inference --model m.m --tokenizer t.t --prompt "Once upon a time." --steps 64
  hookrun overhead --model m.gguf
  hookrun deliver run.events
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process."""
    try:
        options = _parser().parse_args(_spelt_out(sys.argv[1:] if arguments is None else arguments))
        code: int = options.run(options)
    except HookrunError as error:
        print(f"hookrun: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except (KeyboardInterrupt, Interrupted) as error:
        print("hookrun: interrupted", file=sys.stderr)
        return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
    except BrokenPipeError:
        # Whoever read our output has gone; python must not complain a second time when it flushes at exit.
        sys.stdout = None  # type: ignore[assignment]
        return EXIT_FAILURE
    return code


def _spelt_out(arguments: Sequence[str]) -> Sequence[str]:
    """Put in the command that may be left out: `hookrun [options] -- program` means `hookrun run [options] -- program`."""
    if arguments and arguments[0].startswith("-") and "--" in arguments:
        return ["run", *arguments]
    return arguments


def _parser() -> argparse.ArgumentParser:
    # Loaded here and not above, so that Ctrl-C meanwhile is caught like any other.
    from . import deliver_command
    from .dllama import command as dllama_command
    from .llama import command as llama_command
    from .llama import overhead_command, rpc_server_command
    from .program import command as program_command

    parser = argparse.ArgumentParser(
        prog="hookrun",
        description="Runs inference and notes when each request, token and layer ran, for the energy meter's daemon or a file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hookrun {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    program_command.add_parser(commands)
    llama_command.add_parser(commands)
    dllama_command.add_parser(commands)
    overhead_command.add_parser(commands)
    rpc_server_command.add_parser(commands)
    deliver_command.add_parser(commands)
    return parser
