"""The file of a campaign (TOML): which models, which work, how often. Read once, checked in every key.

name = "smollm2 at 10 and 33 %"
repeats = 3                      # runs of each arm; `epid plan-experiment` says how many are needed
design = "blocks"                # or "abba"
seed = 1
runner = ["hookrun"]             # on a Pi: ["ssh", "pi0", "hookrun"]

[arms]                           # the first one is the baseline of the report
baseline = "smollm2.gguf"
pruned-33 = "smollm2-33.gguf"

[workload]                       # options of `hookrun llama`, without the dashes
prompt-file = "prompt.txt"
tokens = 128
idle = 5
settle = 60
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CampaignError
from .order import DESIGNS

RUNNER = ("hookrun",)
_KEYS = {"name", "repeats", "design", "seed", "attempts", "runner", "arms", "workload"}
_OURS = {"model", "label", "json"}
MAX_REPEATS = 1000


@dataclass(frozen=True, slots=True)
class Campaign:
    """One experiment. `arms` maps the name of each arm to its model's path as the runner sees it; the first is the baseline."""

    name: str
    arms: Mapping[str, str]
    workload: Mapping[str, Any]
    repeats: int = 3
    design: str = "blocks"
    seed: int = 0
    attempts: int = 2
    runner: tuple[str, ...] = RUNNER

    def command(self, arm: str) -> list[str]:
        """Words of the command that measures one run of an arm."""
        words = [*self.runner, "llama", "--model", self.arms[arm], "--label", arm, "--json"]
        for name, value in self.workload.items():
            words += _option(name, value)
        return words


def read_campaign(path: Path) -> Campaign:
    """Read a campaign's file; CampaignError names the key that is wrong. Relative paths are seen from the file's folder."""
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CampaignError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CampaignError(f"{path} is not TOML: {error}") from error
    try:
        return _campaign(body, path)
    except CampaignError as error:
        raise CampaignError(f"{path}: {error.message}") from error


def _campaign(body: Mapping[str, Any], path: Path) -> Campaign:
    for key in body:
        if key not in _KEYS:
            raise CampaignError(f"the key {key!r} is not known; known are {', '.join(sorted(_KEYS))}")
    runner = _runner(body.get("runner", list(RUNNER)))
    campaign = Campaign(
        name=str(body.get("name", path.stem)),
        arms=_arms(body.get("arms"), path.parent, local=runner == RUNNER),
        workload=_workload(body.get("workload"), path.parent, local=runner == RUNNER),
        repeats=_number(body, "repeats", 3, 1, MAX_REPEATS),
        design=str(body.get("design", "blocks")),
        seed=_number(body, "seed", 0, 0, 2**63),
        attempts=_number(body, "attempts", 2, 1, 10),
        runner=runner,
    )
    if campaign.design not in DESIGNS:
        raise CampaignError(f"design = {campaign.design!r} is not one of {', '.join(DESIGNS)}")
    return campaign


def _arms(body: object, folder: Path, *, local: bool) -> dict[str, str]:
    if not isinstance(body, dict) or not body:
        raise CampaignError("the table [arms] is missing; give each arm a name and a model, the baseline first")
    arms: dict[str, str] = {}
    for name, model in body.items():
        if not isinstance(model, str):
            raise CampaignError(f"arm {name!r} is not the path of a model in quotes")
        arms[name] = str(folder / model) if local else model
        if local and not Path(arms[name]).is_file():
            raise CampaignError(f"arm {name!r}: there is no model {arms[name]}")
    return arms


def _workload(body: object, folder: Path, *, local: bool) -> dict[str, Any]:
    if not isinstance(body, dict) or not body:
        raise CampaignError("the table [workload] is missing; it holds options of `hookrun llama`, such as prompt")
    for name, value in body.items():
        if name in _OURS:
            raise CampaignError(f"workload.{name} is set by the campaign itself; leave it out")
        if not isinstance(value, str | int | float | bool):
            raise CampaignError(f"workload.{name} is neither text, a number, nor true or false")
    if local and isinstance(body.get("prompt-file"), str):
        return {**body, "prompt-file": str(folder / body["prompt-file"])}
    return dict(body)


def _runner(body: object) -> tuple[str, ...]:
    if not isinstance(body, list) or not body or not all(isinstance(word, str) for word in body):
        raise CampaignError('runner is not a list of words, as in ["ssh", "pi0", "hookrun"]')
    return tuple(body)


def _number(body: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = body.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise CampaignError(f"{key} = {value!r} is not a whole number from {least} to {most}")
    return value


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    return [f"--{name}", str(value)]
