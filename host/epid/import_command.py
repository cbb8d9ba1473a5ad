"""`epid import`: what a node wrote for itself because no daemon heard it, into the run files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from .clocks import host_now_ns


@click.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="EVENTS...", type=click.Path(path_type=Path))
@click.option(
    "--runs", "folder", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder for run files."
)
@click.option("--cut-off", is_flag=True, help="Take a file whose end is missing too, as an aborted run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file.")
def import_(paths: tuple[Path, ...], folder: Path, cut_off: bool, as_json: bool) -> None:
    """Put event files of hookrun into run files: runs without a daemon, and what a daemon never acknowledged.

    A run that the daemon heard in part goes on in a further file beside its first; readers take them together. Nothing is
    stored twice.

    \b
    Example:
      hookrun llama --model m.gguf --prompt Hi --out base.events
      epid import base.events --runs runs/
    """
    from .daemon.importing import import_events

    for path in paths:
        made = import_events(path, folder, cut_off, host_now_ns)
        if as_json:
            click.echo(json.dumps({"events": str(path)} | asdict(made) | {"path": str(made.path)}))
            continue
        lost = f", {made.missing} batches are missing" if made.missing else ""
        click.echo(f"{path} → {made.path} ({made.spans} spans, {made.status}{lost})")
