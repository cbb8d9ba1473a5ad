"""`hookrun deliver`: hands runs that were kept in event files to the daemon."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .arguments import DEFAULT_DAEMON
from .errors import HookrunError
from .sending.delivery import Delivery
from .sending.kept import read_kept_run
from .sending.node_key import read_node_key

_EXAMPLES = """examples:
  hookrun deliver hookrun-1f2e3d4c5b6a7988.events
  hookrun deliver *.events --daemon tcp://192.168.1.20:5790 --key pi0.key
"""


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "deliver",
        help="hand runs that were kept in event files to the daemon",
        description="Sends each run once, in order, and calls its file FILE.delivered then. A run that the daemon knows in part "
        "is completed. Works on the machine that recorded it, until that is restarted: its clock ties the run to the meter.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an event file: of --out, or left by a run")
    parser.add_argument("--daemon", default=DEFAULT_DAEMON, metavar="ADDRESS", help=f"where it listens ({DEFAULT_DAEMON})")
    parser.add_argument("--key", type=Path, metavar="FILE", help="this node's key file, where the daemon asks for one")
    parser.add_argument("--json", action="store_true", help="print one JSON line per file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return the exit code: 1 where a file could not be delivered."""
    key = None if options.key is None else read_node_key(options.key)
    code = 0
    for path in options.files:
        try:
            kept = read_kept_run(path)
            stored = Delivery(kept, options.daemon, key).carry()
        except HookrunError as error:
            print(f"hookrun: {error}", file=sys.stderr)
            code = 1
        else:
            print(_line(path, kept.run_end["spans"], stored, as_json=options.json))
    return code


def _line(path: Path, spans: int, stored: str | None, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"file": str(path), "spans": spans, "daemon_path": stored})
    return f"{path}: {spans} spans delivered, recorded in {stored}"
