"""`epid replay`: a recorded run through the daemon once more."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the new files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per run.")
def replay(paths: tuple[Path, ...], folder: Path, as_json: bool) -> None:
    """Feed run files through the daemon's code again, frame by frame and batch by batch, at the times they came.


    \b
    Example:
      epid replay runs/baseline.mcap --to replayed/
      epid report replayed/*.mcap
    """
    from .daemon.replay import Replay

    for path in paths:
        replayed = Replay(folder)
        made = replayed.feed(path)
        if as_json:
            click.echo(json.dumps({"run": str(path), "to": str(made), "refused": replayed.refused}))
            continue
        for sentence in replayed.refused:
            click.echo(f"refused: {sentence}", err=True)
        click.echo(f"{path} → {made}")
