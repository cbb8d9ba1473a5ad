"""`epid status`: what a running daemon sees."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from epi_protocol import events

DEFAULT_ENDPOINT = f"tcp://127.0.0.1:{events.DEFAULT_PORT}"


@click.command()
@click.option(
    "--daemon", "endpoint", default=DEFAULT_ENDPOINT, show_default=True, metavar="ENDPOINT", help="Address of the daemon."
)
@click.option("--keys", "key_folder", type=click.Path(path_type=Path), help="The daemon's folder of keys, where it has one.")
@click.option("--watch", is_flag=True, help="Show it again every second until Ctrl-C.")
@click.option("--timeout", "timeout_s", default=2.0, show_default=True, help="Seconds to wait for an answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(endpoint: str, key_folder: Path | None, watch: bool, timeout_s: float, as_json: bool) -> None:
    """Show what the daemon sees: meters, nodes, runs.

    \b
    Example:
      epid status --watch
    """
    from .daemon.client import ask_status
    from .status_text import status_text

    while True:
        seen = ask_status(endpoint, int(timeout_s * 1000), key_folder)
        if watch and not as_json and sys.stdout.isatty():
            click.clear()
        click.echo(json.dumps(seen) if as_json else status_text(seen))
        if not watch:
            return
        time.sleep(1)
