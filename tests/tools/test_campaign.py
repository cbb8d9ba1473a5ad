"""A campaign: every arm as often as planned, in an order without drift, and never twice after an interruption."""

import json
import subprocess
from collections import Counter

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from epi_tools.campaign.command import campaign
from epi_tools.campaign.errors import CampaignError
from epi_tools.campaign.execute import execute, fingerprint
from epi_tools.campaign.journal import Journal
from epi_tools.campaign.order import DESIGNS, Trial, schedule
from epi_tools.campaign.settings import read_campaign

ARMS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


@pytest.fixture
def plan_file(tmp_path):
    for name in ("base.gguf", "cut.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    path = tmp_path / "plan.toml"
    path.write_text(
        "repeats = 2\nseed = 7\n[arms]\nbaseline = 'base.gguf'\npruned = 'cut.gguf'\n"
        "[workload]\nprompt = 'hello'\ntokens = 8\nchat = true\nno-telemetry = false\n"
    )
    return path


class Recorder:
    """Stands for hookrun: answers as it does, and fails where it is told to."""

    def __init__(self, codes=()):
        self.commands, self._codes = [], list(codes)

    def __call__(self, words):
        self.commands.append(words)
        code = self._codes.pop(0) if self._codes else 0
        answer = {"daemon_path": f"runs/{len(self.commands)}.mcap", "file_path": None, "problems": []}
        return subprocess.CompletedProcess(words, code, json.dumps(answer) if code == 0 else "")


@given(ARMS, st.integers(1, 8), st.sampled_from(DESIGNS), st.integers(0, 99))
def test_every_arm_stands_once_in_every_block(arms, repeats, design, seed):
    trials = schedule(arms, repeats, design, seed)
    assert Counter(trials) == Counter(Trial(block, arm) for block in range(repeats) for arm in arms)
    assert trials == schedule(arms, repeats, design, seed)


@given(ARMS, st.integers(1, 4))
def test_abba_cancels_a_linear_drift(arms, pairs):
    trials = schedule(arms, 2 * pairs, "abba", 0)
    places = {arm: sum(at for at, trial in enumerate(trials) if trial.arm == arm) for arm in arms}
    assert len(set(places.values())) == 1


def test_the_command_is_what_a_person_would_type(plan_file):
    plan = read_campaign(plan_file)
    model = str(plan_file.parent / "cut.gguf")
    assert plan.command("pruned") == [
        *("hookrun", "llama", "--model", model, "--label", "pruned", "--json"),
        *("--prompt", "hello", "--tokens", "8", "--chat"),
    ]


def test_interrupted_it_goes_on_where_it_stopped(plan_file, tmp_path):
    plan = read_campaign(plan_file)
    trials = schedule(list(plan.arms), plan.repeats, plan.design, plan.seed)
    journal = Journal(tmp_path / "j.jsonl", fingerprint(plan))
    with pytest.raises(CampaignError, match="interrupted; start the same command again"):
        list(execute(plan, journal.left(trials), journal, Recorder([0, 130])))
    with journal.path.open("a") as stream:
        stream.write('{"block": 0, "ar')  # the power went while a line was written
    again = Journal(journal.path, fingerprint(plan))
    assert again.left(trials) == list(trials[1:])
    runner = Recorder()
    assert [done.arm for done in execute(plan, again.left(trials), again, runner)] == [trial.arm for trial in trials[1:]]
    assert len(runner.commands) == 3
    assert Journal(journal.path, fingerprint(plan)).left(trials) == []


def test_a_run_that_fails_is_tried_again_and_then_named(plan_file, tmp_path):
    plan = read_campaign(plan_file)
    trials = schedule(list(plan.arms), 1, "abba", 0)
    journal = Journal(tmp_path / "j.jsonl", "x")
    assert len(list(execute(plan, list(trials[:1]), journal, Recorder([1, 0])))) == 1
    with pytest.raises(CampaignError, match="arm 'pruned', block 1 of 2: failed 2 times, the last time with exit code 3"):
        list(execute(plan, list(trials[1:]), journal, Recorder([1, 3])))


def test_a_journal_of_another_plan_is_refused(tmp_path):
    Journal(tmp_path / "j.jsonl", "one")
    with pytest.raises(CampaignError, match="belongs to another plan"):
        Journal(tmp_path / "j.jsonl", "two")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("repeats = 2", "repeats = 0", "repeats = 0 is not a whole number from 1"),
        ("repeats = 2", "repeats = true", "repeats = True is not a whole number"),
        ("repeats", "repetas", "the key 'repetas' is not known; known are arms"),
        ("seed = 7", "design = 'latin'", "design = 'latin' is not one of blocks, abba"),
        ("seed = 7", "runner = 'ssh'", "runner is not a list of words"),
        ("cut.gguf", "gone.gguf", "arm 'pruned': there is no model"),
        ("[arms]", "[arms]\nx = 3", "arm 'x' is not the path of a model in quotes"),
        ("tokens = 8", "label = 'x'", "workload.label is set by the campaign itself"),
        ("tokens = 8", "tokens = [8]", "workload.tokens is neither text, a number"),
        ("[workload]", "[[workload]]", r"the table \[workload\] is missing"),
        ("[arms]", "[arms", "is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(plan_file, old, new, sentence):
    plan_file.write_text(plan_file.read_text().replace(old, new))
    with pytest.raises(CampaignError, match=sentence):
        read_campaign(plan_file)


def test_the_runner_of_another_machine_sees_its_own_paths(plan_file):
    text = plan_file.read_text().replace("base.gguf", "/models/far.gguf")
    plan_file.write_text('runner = ["ssh", "pi0", "hookrun"]\n' + text)
    assert read_campaign(plan_file).command("baseline")[:5] == ["ssh", "pi0", "hookrun", "llama", "--model"]


def test_dry_run_prints_the_order_and_makes_nothing(plan_file, tmp_path):
    done = CliRunner().invoke(campaign, [str(plan_file), "--dry-run", "--out", str(tmp_path / "o")])
    assert done.exit_code == 0 and "4 runs, 2 of each arm" in done.output
    assert not (tmp_path / "o").exists()
