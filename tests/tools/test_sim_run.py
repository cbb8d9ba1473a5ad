"""Run files from known truths: what was metered is what flowed, times come back, and every draw hangs on the seed."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from epi_protocol.events import KIND
from epi_tools.cli import epi
from epi_tools.simrun.described import described
from epi_tools.simrun.experiment import Order, interleaved, lay_out, simulate
from epi_tools.simrun.power import Profile
from epi_tools.simrun.recorded import Recorded
from epi_tools.simrun.truth import Truth, parse_truths, read_truths
from epid.analysis.timeline.run import load_run
from epid.analysis.timeline.timeline import meter_track, span_table

UTC = "2026-01-02T03:04:05+00:00"
SMALL = Truth().changed(
    model={"n_layer": 3}, workload={"requests": 2, "tokens": 12, "idle_s": 1.5, "pattern_s": 1.0, "repeats": 1}
)
TOML = """
[model]
n_layer = 3
[workload]
requests = 1
tokens = 6
idle_s = 1.0
pattern_s = 0.5
[arms.half.model]
pruned = 0.5
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run.mcap"
    return simulate(Order(SMALL, 0, 0), 5, path, UTC, None, lambda _share: None)


@pytest.fixture
def truth_file(tmp_path):
    path = tmp_path / "truth.toml"
    path.write_text(TOML)
    return path


def run_command(*arguments):
    return CliRunner().invoke(epi, ["sim-run", *map(str, arguments)])


def test_the_registers_count_the_hidden_watts_times_the_hidden_gain(written):
    run = load_run(written.run)
    (board,) = run.boards.values()
    track = meter_track(board, 0)
    begin, end = written.truth["begin_host_ns"], written.truth["end_host_ns"]
    counted = np.diff(np.interp([begin, end], track.host_ns, track.energy_j))[0]
    slack = track.quantum_j + 0.06 * 12  # a step of the registers, and one sweep at full power at each edge
    assert counted == pytest.approx(written.truth["total_j"] * written.truth["meter_gain"], abs=slack)
    assert not run.damage and (track.lost == 0).all()


def test_spans_come_back_to_true_time_within_the_bound_of_the_clock(written):
    truth, _power = lay_out(Order(SMALL, 0, 0), 5, UTC, None)
    found, true = span_table(load_run(written.run).node), truth.spans.in_order_of("end_ns")
    for name in ("begin_ns", "end_ns"):
        assert np.abs(found.columns[name] - true.columns[name]).max() <= found.bound_ns
    for name in ("kind", "phase", "layer", "request", "token", "count"):
        assert (found.columns[name] == true.columns[name]).all()


def test_everything_in_the_file_says_simulated(written):
    run = load_run(written.run)
    assert all(board.simulated for board in run.boards.values())
    assert run.node.begin["model"]["simulated"] and run.node.begin["settings"]["simulated"] and written.truth["simulated"]


def test_the_parts_of_the_truth_add_up(written):
    truth = written.truth
    token_parts = sum(layer[f"{kind}_j_per_token"] for layer in truth["layers"] for kind in ("attention", "ffn", "repeat"))
    assert 0.5 * truth["decode"]["j_per_token"] < token_parts < truth["decode"]["j_per_token"]
    assert truth["decode"]["energy_j"] + truth["prefill"]["energy_j"] < truth["total_j"]
    assert truth["epi"] == pytest.approx(truth["decode"]["j_per_token"] / truth["accuracy"])


def test_one_seed_gives_one_file_and_another_seed_another(tmp_path, truth_file):
    def made(name, seed):
        done = run_command("--truth", truth_file, "--seed", seed, "--utc", UTC, "--out", tmp_path / name / "r.mcap")
        assert done.exit_code == 0, done.output
        return (tmp_path / name / "r.mcap").read_bytes(), (tmp_path / name / "truth.json").read_text()

    assert made("a", 1) == made("b", 1) != made("c", 2)


def test_an_experiment_is_interleaved_and_its_layers_are_the_same_in_every_arm(tmp_path, truth_file):
    out = tmp_path / "runs"
    done = run_command("--truth", truth_file, "--arms", "all", "--repeats", 2, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    names = [line["run"].rpartition("/")[2] for line in json.loads(done.output)["runs"]]
    assert names == ["001-baseline-1.mcap", "002-half-1.mcap", "003-half-2.mcap", "004-baseline-2.mcap"]
    truths = json.loads((out / "truth.json").read_text())["runs"]
    assert list(truths) == names
    assert len({str(truth["watts_above_idle"]) for truth in truths.values()}) == 1
    assert truths[names[1]]["decode"]["j_per_token"] < truths[names[0]]["decode"]["j_per_token"]
    arms = json.loads((out / "truth.json").read_text())["arms"]
    assert arms["half"]["saving"] == pytest.approx(1 - arms["half"]["j_per_token"] / arms["baseline"]["j_per_token"])
    assert arms["half"]["kappa"]["heads"] == pytest.approx(1 - arms["half"]["saving"] / 0.5)
    assert arms["baseline"]["j_per_token"] == pytest.approx(truths[names[0]]["decode"]["j_per_token"], rel=0.03)
    begins = [load_run(out / name).node.begin["node_ns"] for name in names]
    assert len(set(begins)) == 4


def test_the_pruned_arm_carries_the_plan_of_its_cut():
    _baseline, half = parse_truths({"model": {"n_layer": 4}, "arms": {"half": {"model": {"pruned": 0.5}}}}, "x")
    laid_out, _power = lay_out(Order(half, 0, 0), 1, UTC, None)
    plan = laid_out.model["plan"]
    assert plan["format"] == "epi-surgery plan" and laid_out.model["n_head"] == [8, 8, 8, 8]
    assert plan["shares"]["query_heads"] == {"before": 64, "after": 32, "removed_share": 0.5}
    assert [len(layer["query"]) for layer in plan["layers"]] == [8] * 4 and plan["layers"][0]["query"][:3] == [0, 1, 4]
    assert 0 < plan["per_token"]["read_bytes"]["removed_share"] < plan["per_token"]["flops"]["removed_share"] < 0.5
    assert laid_out.model["eval"]["accuracy"]["n"] == half.accuracy.n


def test_spans_of_a_real_inference_get_hidden_watts(tmp_path, truth_file):
    from hookrun.sending.recording import Recording

    recording = Recording(engine="t", node="n", out=tmp_path / "r.events")
    recording.begin("l", {}, {"name": "m", "n_layer": 2, "file": "m.gguf"})
    for token in range(4):
        base = 1_000_000_000 + token * 10_000_000
        for layer in range(2):
            for at, kind in enumerate(("attention", "ffn")):
                begin = base + (2 * layer + at) * 2_000_000
                recording.ring.push(kind, begin, begin + 2_000_000, phase=KIND["decode"], request=0, token=token, layer=layer)
        recording.ring.push("token", base, base + 8_000_000, phase=KIND["decode"], request=0, token=token, count=1)
    recording.ring.push("decode", 1_000_000_000, 1_040_000_000, phase=KIND["decode"], request=0, count=4)
    recording.end("complete")
    truth_file.write_text("[power]\nattention_w = 2.0\nffn_w = 6.0\nlayer_spread = 0.0\nleak_w_per_c = 0.0\nnoise_w = 0.0\n")
    out = tmp_path / "o" / "run.mcap"
    done = run_command("--truth", truth_file, "--spans", tmp_path / "r.events", "--out", out)
    assert done.exit_code == 0, done.output
    truth = json.loads((out.parent / "truth.json").read_text())["runs"]["run.mcap"]
    assert truth["decode"]["j_per_token"] == pytest.approx(3.4 * 0.01 + 2.0 * 0.004 + 6.0 * 0.004 + 3.6 * 0.002)
    assert [layer["ffn_j_per_token"] for layer in truth["layers"]] == [pytest.approx(9.4 * 0.002)] * 2
    assert load_run(out).node.begin["model"]["name"] == "m"


def test_a_recorded_inference_becomes_a_truth_that_simulates_again(tmp_path):
    real = read_truths(Path(__file__).parents[1] / "bench" / "smollm2.toml")[0]
    assert real.model.n_layer == 30 and len(real.timing.ffn_us) == 30
    short = real.changed(workload={"tokens": 8, "idle_s": 1.0, "pattern_s": 0.5})
    laid_out, _power = lay_out(Order(short, 0, 0), 1, UTC, None)
    again = described(Recorded(laid_out.spans, dict(laid_out.model)), "again")
    (found,) = parse_truths(tomllib.loads(again), "again")
    assert found.model.n_layer == 30 and found.model.kv_heads == real.model.kv_heads
    assert np.median(found.timing.ffn_us) == pytest.approx(np.median(real.timing.ffn_us), rel=0.1)


def test_describe_prints_toml_or_one_sentence(tmp_path):
    (tmp_path / "x.events").write_bytes(b"nothing")
    done = CliRunner().invoke(epi, ["sim-run", "--describe", str(tmp_path / "x.events")])
    assert done.exit_code == 2 and "is no event file of hookrun" in done.output and "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[power]\nidle = 3", "[power] has no key 'idle'; its keys are idle_w"),
        ("[nonsense]\nx = 1", "there is no section [nonsense]; the sections are model, workload"),
        ("[power]\nffn_w = [1, 2]", "[power] ffn_w lists 2 values for 8 layers"),
        ("[power]\nffn_w = 'much'", "[power] ffn_w is 'much' and has to be a number"),
        ("[model]\nn_layer = 2.5", "[model] n_layer is 2.5 and has to be a whole number"),
        ("[meter]\nsample_hz = 400", "[meter] sample_hz is 400; the firmware sweeps 1 to 40 times a second"),
        ("[arms.baseline.model]\npruned = 0.1", "the arm 'baseline' is the file itself"),
        ("[accuracy]\nvalue = 0.0", "[accuracy] value is 0 and has to lie above 0"),
        ("[model", "is not TOML"),
    ],
)
def test_a_truth_that_cannot_be_is_one_sentence_and_leaves_no_file(tmp_path, truth_file, text, sentence):
    truth_file.write_text(text)
    done = run_command("--truth", truth_file, "--out", tmp_path / "o" / "r.mcap")
    assert done.exit_code == 2 and sentence in done.output and "Traceback" not in done.output
    assert not (tmp_path / "o").exists()


def test_a_run_that_is_there_is_not_overwritten_unasked(tmp_path, truth_file):
    out = tmp_path / "r.mcap"
    out.write_text("mine")
    done = run_command("--truth", truth_file, "--out", out)
    assert done.exit_code == 2 and "is there already" in done.output and out.read_text() == "mine"
    assert run_command("--truth", truth_file, "--out", out, "--force").exit_code == 0 and out.read_bytes() != b"mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_unknown_arms_and_wrong_spans_are_one_sentence(tmp_path, truth_file):
    done = run_command("--truth", truth_file, "--arms", "third", "--out", tmp_path / "o")
    assert done.exit_code == 2 and "There is no arm 'third' in the truth; its arms are baseline, half." in done.output
    (tmp_path / "x.events").write_bytes(b"\x00nothing")
    done = run_command("--truth", truth_file, "--spans", tmp_path / "x.events", "--out", tmp_path / "r.mcap")
    assert done.exit_code == 2 and "is no event file of hookrun" in done.output


def test_help_shows_an_example():
    assert re.search(r"epi sim-run --truth truth.toml --seed 7 --out run.mcap", run_command("--help").output)


def test_abba():
    arms = [Truth(arm="a"), Truth(arm="b"), Truth(arm="c")]
    assert "".join(order.truth.arm for order in interleaved(arms, 3)) == "abccbaabc"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 20)), min_size=1, max_size=30),
    st.integers(0, 10**9),
    st.integers(0, 2 * 10**10),
)
def test_pieces_of_a_profile_are_contiguous_and_hold_its_energy(steps, start, length):
    ends = np.cumsum([step for step, _watts in steps])
    profile = Profile(0, ends, np.array([watts for _step, watts in steps]))
    start, stop = min(start, int(ends[-1])), min(start + length, int(ends[-1]))
    pieces, at, joules = profile.source.pieces(start, stop), start, 0.0
    for end, watts in pieces:
        assert end > at
        joules, at = joules + watts * (end - at) * 1e-9, end
    assert at == stop or start >= stop
    assert joules == pytest.approx(profile.energy_j(np.array([start]), np.array([max(start, stop)]))[0], rel=1e-9, abs=1e-9)
