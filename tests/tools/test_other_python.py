"""Boards simulated in another interpreter say the same, byte for byte."""

import shutil
import subprocess
import sys

import pytest

from epi_tools.simrun.errors import TruthError
from epi_tools.simrun.experiment import Order, simulate
from epi_tools.simrun.other_python import OtherPython
from epi_tools.simrun.truth import Truth

SMALL = Truth().changed(
    model={"n_layer": 3}, workload={"requests": 1, "tokens": 6, "prompt_tokens": 8, "idle_s": 1.0, "pattern_s": 1.0}
)
UTC = "2026-01-02T03:04:05+00:00"


def written(path, *more):
    return simulate(Order(SMALL, 0, 0), 5, path, UTC, None, lambda _share: None, *more)


def recent(python):
    asked = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return shutil.which(python) is not None and subprocess.run(asked, check=False).returncode == 0


@pytest.mark.parametrize("python", [sys.executable, "pypy3"])
def test_another_interpreter_writes_the_same_bytes(tmp_path, python):
    if not recent(python):
        pytest.skip(f"there is no {python} of Python 3.11 here")
    mine = written(tmp_path / "mine.mcap")
    with OtherPython(python) as other:
        for name in ("first", "second"):
            theirs = written(tmp_path / f"{name}.mcap", other.hear)
            assert theirs.truth == mine.truth
            assert theirs.run.read_bytes() == mine.run.read_bytes()


def test_an_interpreter_that_is_not_there_is_named():
    with pytest.raises(TruthError, match="Cannot start no-such-python"):
        OtherPython("no-such-python")


def test_an_interpreter_that_gives_up_is_said_so(tmp_path):
    with OtherPython(shutil.which("false")) as other, pytest.raises(TruthError, match="gave up"):
        written(tmp_path / "r.mcap", other.hear)
    assert not list(tmp_path.iterdir())
