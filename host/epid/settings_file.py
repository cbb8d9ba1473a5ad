"""The TOML file behind the command line: what it may hold, and where each value in force came from.

A value comes from a flag, else from the environment (`EPID_SERVE_LISTEN`), else from the file, else from the default. The keys
of the file are the names of the flags, in one table per command; a key that no flag knows is refused by name.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import click

from .errors import UsageError

ENVIRONMENT = "EPID"
_SOURCES = {
    click.core.ParameterSource.COMMANDLINE: "flag",
    click.core.ParameterSource.ENVIRONMENT: "environment",
    click.core.ParameterSource.DEFAULT_MAP: "file",
    click.core.ParameterSource.DEFAULT: "default",
}


def default_path() -> Path | None:
    """The file that is read where none is named: the user's, else the machine's, else none."""
    home = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return next((path for path in (home / "epid.toml", Path("/etc/epid.toml")) if path.is_file()), None)


def read(path: Path, group: click.Group) -> dict[str, Any]:
    """Return click's default map of a settings file; UsageError names the file, the key and what was meant."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    return {name: _table(path, name, table, group) for name, table in tables.items()}


def _table(path: Path, name: str, table: Any, group: click.Group) -> dict[str, Any]:
    command = group.commands.get(name)
    if command is None or not isinstance(table, dict):
        raise UsageError(f"{path}: {name!r} is no table of this file{_meant(name, group.commands)}")
    keys = {flag_name(option): option for option in _options(command)}
    for key in table:
        if key not in keys:
            raise UsageError(f"{path}: [{name}] knows no key {key!r}{_meant(key, keys)}")
    return {str(keys[key].name): _value(path, f"{name}.{key}", keys[key], value) for key, value in table.items()}


def _value(path: Path, key: str, option: click.Option, value: Any) -> Any:
    if option.multiple and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise UsageError(f'{path}: {key} is not a list of texts; write for example {key.split(".")[1]} = ["…"]')
    if option.is_flag and not isinstance(value, bool):
        raise UsageError(f"{path}: {key} is neither true nor false")
    return value


def sources(command: click.Command, group_context: click.Context) -> list[dict[str, Any]]:
    """Return one map per setting of a command: key, value, where it came from, what it is for."""
    with command.make_context(command.name, [], parent=group_context) as context:
        return [
            {
                "key": f"{command.name}.{flag_name(option)}",
                "value": _plain(context.params[str(option.name)]),
                "from": _SOURCES.get(context.get_parameter_source(str(option.name)) or click.core.ParameterSource.DEFAULT, "?"),
                "help": option.help or "",
            }
            for option in _options(command)
        ]


def example(command: click.Command) -> str:
    """Return a TOML table with every key of a command, its meaning, and its default commented out."""
    lines = [f"[{command.name}]"]
    for option in _options(command):
        default = [] if option.multiple else option.default
        shown = json.dumps(_plain(default)) if isinstance(default, str | bool | int | float | list | Path) else '""'
        lines += [f"# {option.help}", f"# {flag_name(option)} = {shown}", ""]
    return "\n".join(lines)


def flag_name(option: click.Option) -> str:
    """`--sample-hz` as a key of the file: `sample-hz`."""
    return max(option.opts, key=len).lstrip("-")


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option) and parameter.name != "help"]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _meant(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
