"""`epi sim --faults`: what may be asked for, and that it happens to a board with the real firmware on it."""

import json
import shutil
import time

import pytest
from board_bench import RunningSim
from click.testing import CliRunner

from epi_protocol import messages as m
from epi_protocol.frame import FrameDecoder
from epi_tools.cli import epi
from epi_tools.sim.faults import KINDS, Fault, FaultSpecError, parse_faults

ALL = (0, 1, 2, 3)


def test_faults_are_parsed_and_put_in_order():
    assert parse_faults(["brown-out@30,1=reset@10", "flips:1e-4"]) == [
        Fault("flips", ALL, rate=1e-4),
        Fault("reset", (1,), at_s=10.0),
        Fault("brown-out", ALL, at_s=30.0),
    ]
    assert parse_faults(["2=dead@5+2.5"]) == [Fault("dead", (2,), at_s=5.0, span_s=2.5)]
    assert parse_faults(["3=flips:0.001@4+6"]) == [Fault("flips", (3,), at_s=4.0, span_s=6.0, rate=1e-3)]
    assert parse_faults([]) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("meteor@5", "'meteor@5' is unknown"),
        ("reset", "'reset' has a part too many or too few"),
        ("reset@5+2", "'reset@5+2' has a part too many or too few"),
        ("flips@5", "'flips@5' has a part too many or too few"),
        ("dead:0.1@5", "'dead:0.1@5' has a part too many or too few"),
        ("4=reset@5", "names a channel that it cannot have"),
        ("1=brown-out@5", "names a channel that it cannot have"),
        ("flips:2", "'2' is no number from 0 to 1"),
        ("flips:often", "'often' is no number from 0 to 1"),
        ("reset@soon", "'soon' is no number from 0 to 1e+09"),
        ("dead@1+nan", "'nan' is no number"),
        ("", "'' is unknown"),
    ],
)
def test_faults_that_cannot_be_are_one_sentence(text, sentence, tmp_path):
    with pytest.raises(FaultSpecError, match=r"write|go from|no number"):
        parse_faults([text])
    (tmp_path / "main.py").write_text("")
    result = CliRunner().invoke(epi, ["sim", "--firmware", str(tmp_path), "--faults", text])
    assert result.exit_code == 2 and sentence in result.output and len(result.output.strip().splitlines()) == 1


def test_help_names_every_kind():
    text = " ".join(CliRunner().invoke(epi, ["sim", "--help"]).output.split())
    assert all(kind in text for kind in KINDS)
    assert "--faults flips:1e-5,1=reset@10,brown-out@60" in text


def payloads_until(port, wanted, timeout_s=40.0):
    """Read frames until `wanted(payloads)`; return them."""
    decoder, payloads, deadline = FrameDecoder(), [], time.monotonic() + timeout_s
    while not wanted(payloads):
        assert time.monotonic() < deadline, [payload for payload in payloads if payload[0] == m.LOG]
        payloads += decoder.feed(port.read(max(1, port.in_waiting)))
    return payloads


def set_ups(payloads):
    """How often a chip was set up, on all boots together."""
    return sum("set up; the chip's checksums are" in text for text in logs(payloads))


def logs(payloads):
    return [m.parse_log(payload)[1] for payload in payloads if payload[0] == m.LOG]


def samples(payloads):
    """The four channels of every sweep."""
    return [m.parse_sample(payload)[1] for payload in payloads if payload[0] == m.SAMPLE]


def boots(payloads):
    return {payload[1:5] for payload in payloads if payload[0] == m.SAMPLE}


@pytest.mark.skipif(not shutil.which("micropython"), reason="no micropython on PATH")
def test_faults_happen_to_a_running_board(tmp_path):
    asked = "0=reset@2,1=cs1@2,2=cs2@2,3=dead@2+1,brown-out@6"
    with RunningSim(tmp_path, "--channel", "0=const:5", "--faults", asked) as sim, sim.open() as port:
        payloads = payloads_until(port, lambda payloads: len(boots(payloads)) == 2 and set_ups(payloads) == 4 + 3 + 4)
        code, out, err = sim.stop()
    said = logs(payloads)
    assert any(text.startswith("pi1: the chip was reset behind our back") for text in said)
    assert any(text.startswith("pi2: the chip's metering registers no longer match") for text in said)
    assert any(text.startswith("pi3: the chip's measurement registers no longer match") for text in said)
    assert any(text.startswith("pi4: the chip does not answer any more") for text in said)
    assert set_ups(payloads) == 4 + 3 + 4
    end = json.loads(out.splitlines()[-1])
    assert code == 0 and end["boots"] == 2
    assert [fault["kind"] for fault in end["faults"]] == ["reset", "cs1", "cs2", "dead", "brown-out"]
    assert end["faults"] == json.loads(sim.truth.read_text())["faults"]
    assert "fault at 6 s: board and chips lose their supply together" in err
    assert "the board reboots: its supply was cut" in err


@pytest.mark.skipif(not shutil.which("micropython"), reason="no micropython on PATH")
def test_a_bad_line_leaves_the_books_exact_or_marked(tmp_path):
    """One bit in a thousand: every other sweep is hit; then a channel that hears nothing for a second."""
    with RunningSim(tmp_path, "--faults", "0=flips:1e-3,1=deaf@5+1", "--channel", "1=const:5") as sim, sim.open() as port:
        late = m.flag("ENERGY_LATE") | m.flag("ABSENT")

        def enough(payloads):
            sweeps = samples(payloads)
            hit = any(sweep[0]["flags"] & m.flag("MEASURE_INVALID") for sweep in sweeps[60:])
            return hit and any(sweep[1]["flags"] & late for sweep in sweeps) and not sweeps[-1][1]["flags"] & late

        sweeps = samples(payloads_until(port, enough))
    marks = m.flag("ENERGY_UNKNOWN") | m.flag("REINIT")
    for number, channel in enumerate(sweeps[-1]):
        assert channel["unknown"] == sum(bool(sweep[number]["flags"] & marks) for sweep in sweeps)
    # The chip counted on while it was deaf, and was read afterwards: nothing is in doubt.
    assert [channel["unknown"] for channel in sweeps[-1][1:]] == [0, 0, 0] and sweeps[-1][1]["forward"] > 10
