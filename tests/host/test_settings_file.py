"""Settings: flag over environment over file over default, and what is wrong in a file named by file, key and meaning."""

import json
import tomllib

import pytest
from click.testing import CliRunner

from epid.cli import main, serve
from epid.settings_file import example, flag_name


def shown(*arguments, env=None):
    done = CliRunner(env=env).invoke(main, [*arguments, "config", "--json"])
    assert done.exit_code == 0, done.output
    return {row["key"]: (row["value"], row["from"]) for row in json.loads(done.output)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "epid.toml"
    path.write_text(
        '[serve]\nruns = "/data/runs"\nlisten = "tcp://127.0.0.1:7000"\nchannel = ["pi0=0", "pi1=1"]\nannounce = false\n'
    )
    return path


def test_each_value_says_where_it_came_from(file, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    assert shown()["serve.runs"] == ("runs", "default")
    seen = shown("--config", str(file), env={"EPID_SERVE_LISTEN": "tcp://127.0.0.1:8000"})
    assert seen["serve.runs"] == ("/data/runs", "file")
    assert seen["serve.channel"] == (["pi0=0", "pi1=1"], "file")
    assert seen["serve.announce"] == (False, "file")
    assert seen["serve.listen"] == ("tcp://127.0.0.1:8000", "environment")
    assert seen["serve.wait"] == (False, "default")


def test_the_users_file_is_found_by_itself(file, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parent))
    assert shown()["serve.runs"] == ("/data/runs", "file")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[serve]\nlistn = 'x'\n", "[serve] knows no key 'listn'; did you mean 'listen'?"),
        ("[sevre]\n", "'sevre' is no table of this file; did you mean 'serve'?"),
        ("runs = 'x'\n", "'runs' is no table of this file"),
        ("[serve]\nchannel = 'pi0=0'\n", "serve.channel is not a list of texts"),
        ("[serve]\nwait = 'yes'\n", "serve.wait is neither true nor false"),
        ("[serve\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, sentence):
    path = tmp_path / "epid.toml"
    path.write_text(text)
    done = CliRunner().invoke(main, ["--config", str(path), "config"])
    assert done.exit_code == 2 and done.output.startswith(f"epid: {path}") and sentence in done.output


def test_a_file_that_is_not_there_is_named(tmp_path):
    done = CliRunner().invoke(main, ["--config", str(tmp_path / "no.toml"), "config"])
    assert done.exit_code == 2 and "cannot read the settings file" in done.output


def test_the_example_holds_every_key_and_is_a_file_that_is_taken(tmp_path):
    text = example(serve)
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if "= " in line or line.startswith("["))
    tomllib.loads(uncommented)
    for option in serve.params:
        assert f"# {flag_name(option)} = " in text
    path = tmp_path / "epid.toml"
    path.write_text(text)
    assert CliRunner().invoke(main, ["--config", str(path), "config"]).exit_code == 0
