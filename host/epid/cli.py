"""The command `epid`. Each subcommand imports its side only when it runs: `epid status` on a Pi loads no numpy."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import click

from . import __version__, settings_file
from .errors import EpidError, UsageError
from .export.command import export
from .import_command import import_
from .keys_command import keys
from .lag_command import lag
from .marks_command import marks
from .plan_command import plan_experiment
from .replay_command import replay
from .report.command import report
from .status_command import DEFAULT_ENDPOINT, status


class _Commands(click.Group):
    """A group whose commands end with one sentence and an exit code where the failure is an expected one."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EpidError as error:
            click.echo(f"epid: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": settings_file.ENVIRONMENT},
)
@click.version_option(__version__, prog_name="epid")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (TOML); default: epid.toml in the user's settings folder, else /etc/epid.toml.",
)
@click.pass_context
def main(context: click.Context, config_path: Path | None) -> None:
    """Joules at the wall socket, per token and per layer: record, look, report.

    \b
    Example:
      epid serve --port /dev/ttyACM0 --channel pi0=0 --channel pi1=1
      epid status
      epid report runs/*.mcap --html report.html
    """
    path = config_path or settings_file.default_path()
    if path is not None:
        context.default_map = settings_file.read(path, main)


@main.command()
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="PATH",
    help="Serial port of a meter; without --port, --tcp and --zmq all USB ports are watched.",
)
@click.option("--tcp", "addresses", multiple=True, metavar="HOST:PORT", help="TCP address of a meter.")
@click.option("--zmq", "publishers", multiple=True, metavar="tcp://HOST:PORT", help="A meter on Wi-Fi: its ZeroMQ publisher.")
@click.option("--listen", default=DEFAULT_ENDPOINT, show_default=True, metavar="ENDPOINT", help="Where nodes connect.")
@click.option(
    "--runs", "folder", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder for run files."
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="NODE=CHANNEL",
    help="Which meter channel (0 to 3, or BOARD:CHANNEL) feeds a node.",
)
@click.option("--wait", is_flag=True, help="Wait for a named meter that is not there yet instead of giving up.")
@click.option(
    "--keys",
    "key_folder",
    type=click.Path(path_type=Path),
    help="Folder of keys: only nodes with a key may talk (see epid keys).",
)
@click.option(
    "--open", "is_open", is_flag=True, help="Listen off loopback without keys: whoever reaches the port may write run files."
)
@click.option("--metrics", default="", metavar="HOST:PORT", help="Serve /metrics for Prometheus here; empty: not at all.")
@click.option("--metrics-token", default="", help="Token that readers of /metrics must send; a must off loopback.")
@click.option(
    "--ambient",
    "ambient_hours",
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Record the meters between runs too, and keep so much; 0: not at all.",
)
@click.option("--reserve", "reserve_mib", default=64, show_default=True, metavar="MIB", help="Disk space to leave free.")
@click.option("--announce/--no-announce", default=True, show_default=True, help="Announce the daemon by zeroconf.")
def serve(
    ports: tuple[str, ...],
    addresses: tuple[str, ...],
    publishers: tuple[str, ...],
    listen: str,
    folder: Path,
    channels: tuple[str, ...],
    wait: bool,
    key_folder: Path | None,
    is_open: bool,
    metrics: str,
    metrics_token: str,
    ambient_hours: float,
    reserve_mib: int,
    announce: bool,
) -> None:
    """Take the meters' frames and the nodes' events, and write each run to one file.

    \b
    Example:
      epid serve --port /dev/ttyACM0 --channel pi0=0
    """
    from .daemon.link import Address, parse_tcp
    from .daemon.service import Service, Settings

    meters = tuple(Address(path=port) for port in ports) + tuple(parse_tcp(text) for text in addresses)
    meters += tuple(parse_tcp(text, zmq=True) for text in publishers)
    fed = dict(_channel(text) for text in channels)
    settings = Settings(
        meters, listen, folder, fed, announce, wait, metrics, metrics_token, key_folder, ambient_hours, reserve_mib << 20
    )
    if not is_open and key_folder is None and not _is_loopback(listen):
        raise UsageError(f"{listen} could be reached by anyone; give keys with --keys (see `epid keys --help`), or say --open")

    def say(text: str) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)

    async def run() -> None:
        service = Service(settings, say)
        await service.run(lambda: say(f"listening for nodes on {service.hub.endpoint}, run files go to {folder}"))

    asyncio.run(run())


@main.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per run.")
def runs(folder: Path, as_json: bool) -> None:
    """List the run files in a folder.

    \b
    Example:
      epid runs runs/
    """
    from .record.listing import list_runs

    found = list_runs(folder)
    if as_json:
        for run in found:
            click.echo(json.dumps(run))
        return
    for run in found:
        click.echo(f"{run['utc']:<26} {run['label'] or '-':<20} {run['node']:<12} {run['status']:<10} {run['path']}")
    if not found:
        click.echo(f"no run files in {folder}")


@main.command()
@click.option("--example", "as_example", is_flag=True, help="Print a settings file with every key, its meaning and its default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.pass_context
def config(context: click.Context, as_example: bool, as_json: bool) -> None:
    """Show the daemon's settings in force, and where each value came from: flag, environment, file or default.

    \b
    Example:
      epid --config epid.toml config
      epid config --example > ~/.config/epid.toml
    """
    if as_example:
        click.echo(settings_file.example(serve))
        return
    assert context.parent is not None
    found = settings_file.sources(serve, context.parent)
    if as_json:
        click.echo(json.dumps(found))
        return
    for row in found:
        click.echo(f"{row['key']:<18} {json.dumps(row['value']):<32} {row['from']}")


main.add_command(export)
main.add_command(import_)
main.add_command(keys)
main.add_command(lag)
main.add_command(marks)
main.add_command(replay)
main.add_command(plan_experiment)
main.add_command(report)
main.add_command(status)


def _is_loopback(endpoint: str) -> bool:
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return not endpoint.startswith("tcp://") or host.startswith("127.") or host in ("localhost", "::1")


def _channel(text: str) -> tuple[str, str]:
    node, equals, channel = text.partition("=")
    index = channel.rpartition(":")[2]
    if not node or not equals or not index.isdigit():
        raise click.BadParameter(f"{text!r}; write NODE=CHANNEL, for example pi0=0", param_hint="--channel")
    return node, channel
