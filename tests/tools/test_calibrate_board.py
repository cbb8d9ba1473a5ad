"""`epi calibrate` on a serial port: the simulator with the real firmware, and boards that are not the one that was meant."""

import json
import shutil
import subprocess

import pytest
from board_bench import EPI, RunningSim, Talker, wait_for
from click.testing import CliRunner

from epi_protocol import frame, messages
from epi_tools.calibrate import board_bench
from epi_tools.cli import epi

needs_micropython = pytest.mark.skipif(not shutil.which("micropython"), reason="no micropython on PATH")

SIM = ("--channel", "0=const:25", "--hidden-gain", "0=1.013", "--hidden-phase", "0=0.8")
LAMP = ("--reference-w", "25.000", "--reference-v", "230,00", "--reference-pf", "1", "--yes")


def calibrate(*arguments):
    """Exit code, standard output, standard error of one call."""
    done = subprocess.run([*EPI, "calibrate", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def complaint(*arguments):
    """The one line of a refused call."""
    result = CliRunner().invoke(epi, ["calibrate", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.output.strip().splitlines() if line.startswith("Error: ")]
    assert line.endswith(".") and "Traceback" not in result.output
    return line


@pytest.fixture(scope="module")
def meter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meter")
    (folder / "bench.json").write_text('{"0": 0}')
    with RunningSim(folder, *SIM, "--bench", str(folder / "bench.json"), ideal=False) as sim:
        yield sim


@needs_micropython
def test_a_hidden_gain_is_found_stored_and_verified(meter, tmp_path):
    export = tmp_path / "calibration.json"
    # Five seconds leave two sigma of the register's step at 0.24 %; the line through it resolves far better.
    arguments = ("--port", meter.link, "--channel", 0, *LAMP, "--seconds", 5, "--tolerance-percent", 0.3, "--export", export)
    code, out, err = calibrate(*arguments, "--ct", "1000:1", "--turns", 4, "--celsius", 21, "--json")
    assert code == 0, err
    assert "230,00 was read as 230 V" in err
    found = json.loads(out)
    assert found["stored"] and found["simulated"] and found["not_done"] == ["offsets", "phase", "thresholds"]
    assert found["found"]["gain"] == pytest.approx(0.013, abs=1e-3)
    assert abs(found["residual"]["gain"]) <= 1e-3 and abs(found["after"]["power"]) <= 1e-3
    assert found["record"].items() >= {"ct": "1000:1", "turns": 4, "celsius": 21}.items()
    before, after = json.loads(export.read_text())["channels"]["0"]["states"]
    assert before["calibration"] is None and before["energy_correction"] == pytest.approx(1 / 1.013, abs=1e-3)
    assert after["calibration"] == found["record"] and after["energy_correction"] == pytest.approx(1, abs=1e-3)


@needs_micropython
def test_a_board_at_its_prompt(tmp_path):
    with RunningSim(tmp_path, main="") as sim:
        wait_for(lambda: sim.link.exists())
        assert "is at MicroPython's prompt and does not measure" in complaint("--port", sim.link, "--channel", 0, *LAMP)


def hello(**changes):
    scales = {"p_w": 0.0625, "q_var": 0.0625, "u_v": 0.01, "i_a": 0.0000625, "energy_j_per_tick": 0.36, "name": "pi1"}
    return messages.pack_hello(b"BOOT", {"board_id": "e661", "simulated": False, "channels": [scales]} | changes)


def test_another_board():
    with Talker(frame.encode(hello())) as board:
        line = complaint("--port", board.port, "--board", "e66f", "--channel", 0, *LAMP)
    assert "is e661, not e66f" in line


def test_a_channel_that_the_board_lacks():
    with Talker(frame.encode(hello())) as board:
        assert "channels 0 to 0, and not 2" in complaint("--port", board.port, "--channel", 2, *LAMP)


def test_a_board_of_another_protocol():
    strange = bytearray(hello())
    strange[1] = 99
    with Talker(frame.encode(bytes(strange))) as board:
        assert "speaks protocol 99" in complaint("--port", board.port, "--channel", 0, *LAMP)


def test_something_that_is_no_board(monkeypatch):
    monkeypatch.setattr(board_bench, "HELLO_S", 0.5)
    with Talker(b"$GPGGA,1,2,3\r\n") as board:
        assert "talks, and not as a meter does" in complaint("--port", board.port, "--channel", 0, *LAMP)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--reference-w", "0.010 kW", "--yes"), "give it in W with more digits"),
        (("--reference-w", "1,003", "--yes"), "may part thousands or decimals"),
        (("--yes",), "There is no reference"),
        (("--steps", "gain,phase", *LAMP), "With --yes nobody changes the load between gain and phase"),
        (("--steps", "jump", *LAMP), "Step 'jump' is unknown"),
        (("--turns", "4", "--ct-ratio", "1000", *LAMP), "give all three"),
        (("--start-w", "many", *LAMP), "not a positive number in W"),
        (("--export", "/nowhere/at/all.json", *LAMP), "there is no folder"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_measured(arguments, says):
    with Talker(frame.encode(hello())) as board:
        assert says in complaint("--port", board.port, "--channel", 0, *arguments)


def test_no_port_and_no_answer(tmp_path):
    assert "There is no serial port" in complaint("--port", tmp_path / "none", "--channel", 0, *LAMP)


def test_the_prompts_end_with_the_input():
    result = CliRunner().invoke(epi, ["calibrate", "--channel", "0", "--port", "/nowhere"], input="")
    assert result.exit_code == 2 and "No answer came" in result.output


def test_help_has_examples():
    result = CliRunner().invoke(epi, ["calibrate", "--help"])
    assert result.exit_code == 0 and "--reference-w 10.03" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--hidden-gain", "0=x"), "--hidden-gain 0=x is not N=VALUE"),
        (("--hidden-phase", "7=1"), "--hidden-phase 7=1 is not N=VALUE"),
        (("--hidden-gain", "0=99"), "VALUE 0.1 to 10"),
    ],
)
def test_hidden_errors_that_cannot_be(arguments, says):
    result = CliRunner().invoke(epi, ["sim", *arguments])
    assert result.exit_code == 2 and says in result.output
