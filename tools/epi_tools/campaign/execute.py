"""Makes the runs of a campaign one after the other, each by the command that a person would type."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import CampaignError
from .journal import Done, Journal
from .order import Trial
from .settings import Campaign

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


def fingerprint(campaign: Campaign) -> str:
    """What two plans must share for the one to go on where the other stopped."""
    parts = [campaign.command(arm) for arm in campaign.arms]
    text = json.dumps([parts, campaign.design, campaign.seed, campaign.repeats])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_here(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command: what it says to people passes through, its result is captured."""
    beside = Path(sys.executable).with_name(words[0])
    command = [str(beside) if beside.exists() else words[0], *words[1:]]
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise CampaignError(f"{words[0]} cannot be started: {(error.strerror or 'unknown reason').lower()}") from error


def execute(
    campaign: Campaign,
    trials: list[Trial],
    journal: Journal,
    run: Run = run_here,
    clock_s: Callable[[], float] = time.monotonic,
) -> Iterator[Done]:
    """Make the `trials`, and yield each as soon as it stands in the journal.

    Raises CampaignError where one fails `campaign.attempts` times, or is not recorded by a daemon.
    """
    for trial in trials:
        begin_s = clock_s()
        path = _measured(campaign, trial, run)
        done = Done(trial.block, trial.arm, path, round(clock_s() - begin_s, 3))
        journal.add(done)
        yield done


def _measured(campaign: Campaign, trial: Trial, run: Run) -> str:
    where = f"arm {trial.arm!r}, block {trial.block + 1} of {campaign.repeats}"
    code = 0
    for _attempt in range(campaign.attempts):
        done = run(campaign.command(trial.arm))
        code = done.returncode
        if code == 0:
            return _run_path(done.stdout, where)
        if code < 0 or code > 128:
            raise CampaignError(f"{where}: interrupted; start the same command again and it goes on from here")
    raise CampaignError(
        f"{where}: failed {campaign.attempts} times, the last time with exit code {code}; what it said stands above. "
        "Start the same command again when it is mended: it goes on from here"
    )


def _run_path(stdout: str, where: str) -> str:
    try:
        result = json.loads(stdout)
        path, problems = result["daemon_path"] or result["file_path"], result["problems"]
    except (ValueError, KeyError, TypeError) as error:
        raise CampaignError(f"{where}: the runner's answer is no result of `hookrun llama --json` ({error})") from error
    if problems:
        raise CampaignError(f"{where}: {problems[0]}")
    if not path:
        raise CampaignError(f"{where}: the run was recorded nowhere; leave no-daemon out of [workload]")
    return str(path)
