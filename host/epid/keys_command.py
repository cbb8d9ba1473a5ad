"""`epid keys`: who may talk to the daemon over a network."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def keys() -> None:
    """Keys of the nodes that may talk to the daemon over a network.

    \b
    Example:
      epid keys new pi0                      # writes pi0.key: carry it to the node
      epid serve --listen tcp://0.0.0.0:5790 --keys keys
      hookrun llama --key pi0.key --daemon tcp://WORKSTATION:5790 …   # on the node
    """


_KEY_FOLDER = click.option(
    "--keys", "folder", default="keys", show_default=True, type=click.Path(path_type=Path), help="Folder of keys."
)


@keys.command()
@click.argument("node")
@click.option("--out", type=click.Path(path_type=Path), help="The node's key file; default: NODE.key.")
@_KEY_FOLDER
def new(node: str, out: Path | None, folder: Path) -> None:
    """Make a key for a node."""
    from .daemon.keyring import KeyRing

    target = out or Path(f"{node}.key")
    KeyRing(folder).new(node, target)
    click.echo(f"{target}: carry it to {node}, and keep it from others; it stands nowhere else")


@keys.command(name="list")
@_KEY_FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_keys(folder: Path, as_json: bool) -> None:
    """List the nodes that have a key."""
    from .daemon.keyring import KeyRing

    nodes = {name: key.decode() for key, name in KeyRing(folder).nodes().items()}
    if as_json:
        click.echo(json.dumps(nodes))
        return
    for name, key in nodes.items():
        click.echo(f"{name:<20} {key}")
    if not nodes:
        click.echo(f"no keys in {folder}")


@keys.command()
@click.argument("node")
@_KEY_FOLDER
def revoke(node: str, folder: Path) -> None:
    """Take a node's key away."""
    from .daemon.keyring import KeyRing

    KeyRing(folder).revoke(node)
    click.echo(f"{node} is refused from its next connection on")
