"""Studies of whole run files: what they say, and what they say where something is wrong with the runs."""

import json

import numpy as np
import pytest

from epid.analysis.study.study import load_study
from epid.analysis.summary import summarise
from epid.analysis.windows.tally import NO_IDLE
from epid.errors import RunFileError
from fakes.runfile import accuracy, cut_plan, model_map, write_run

CUT = model_map("1" * 64, cut_plan(), n_head=(6, 6), **accuracy(700))
BASE = model_map(**accuracy(720))
RECORD = {"gain_ppm": 0, "within_ppm": 1000, "phase_mdeg": 0, "utc": "2026-01-01"}


def study(folder, *runs):
    """Write runs given as argument maps, in that order, and compare them."""
    paths = [write_run(folder / f"{at}.mcap", **({"utc": f"2026-01-02T03:{at:02d}"} | run)) for at, run in enumerate(runs)]
    return load_study(paths)


def arm(label, model, watts, **more):
    return [{"label": f"{label}-{at}", "model": model, "busy_w": each, **more} for at, each in enumerate(watts)]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    base = arm("base", BASE, (9.0, 9.01, 8.99), tokens=200, record=RECORD, celsius=50.0)
    cut = arm("cut", CUT, (9.0, 9.008, 8.992), tokens=200, token_s=0.045, record=RECORD, celsius=49.0)
    return study(tmp_path_factory.mktemp("runs"), base[0], cut[0], cut[1], base[1], base[2], cut[2])


def test_runs_of_one_model_are_one_arm_and_the_first_model_is_the_baseline(compared):
    assert [(each.label, len(each.runs)) for each in compared.arms] == [("base", 3), ("cut", 3)]
    assert compared.arms[1].depth == 0.25 and compared.arms[1].heads_removed == 4
    assert compared.problems == () and compared.simulated


def test_savings_expectations_and_kappa_are_the_closed_form(compared):
    (found,) = compared.comparisons
    assert found.saving.value == pytest.approx(0.1, abs=0.003) and found.saving.holds(0.1)
    assert [(each.basis, each.share) for each in found.expected] == [("heads", 0.25), ("flops", 0.05), ("bytes", 0.1)]
    assert found.kappa.holds(0.0) and found.expected[0].kappa.value == pytest.approx(1 - 0.1 / 0.25, abs=0.02)
    assert found.speedup.value == pytest.approx(1 / 0.9, rel=1e-3)
    assert found.outcome.claim == "A" and found.compensation.claim == "none" and found.pattern.claim == "speed-up"


def test_epi_and_its_change_follow_from_joules_and_accuracy(compared):
    base, cut = compared.arms
    assert base.epi.epi.value == pytest.approx(9.0 * 0.05 / 0.72, rel=0.005)
    ratio = (0.9 * 0.72 / 0.7) - 1
    assert compared.comparisons[0].epi_change.value == pytest.approx(ratio, abs=0.005)
    assert cut.epi.per_joule.value == pytest.approx(1 / cut.epi.epi.value)


def test_layers_that_got_faster_are_found_with_their_number_allowed_for(compared):
    layers = compared.comparisons[0].layers
    assert [layer.claim for layer in layers] == ["faster", "faster"] and all(layer.pruned for layer in layers)
    assert all(layer.time.value == pytest.approx(0.9, rel=1e-3) for layer in layers)


def test_every_question_is_answered_with_its_figures_and_test(compared):
    assert [answer.name for answer in compared.answers] == ["RQ1", "RQ2", "RQ3", "RQ4", "RQ5"]
    assert all(answer.answer and answer.test for answer in compared.answers)
    assert compared.threshold.depth == 0.25 and "at or below 25%" in compared.threshold.sentence
    json.dumps(compared.to_map())


def test_the_pooled_error_of_six_runs_on_one_meter_leaves_the_gain_out_of_the_saving(compared):
    (found,) = compared.comparisons
    assert found.saving.half_width < 0.006
    assert compared.arms[0].j_per_token.half_width / compared.arms[0].j_per_token.value > 0.001


def test_parts_add_up_to_what_was_metered(compared):
    for run in compared.summaries:
        assert run.conservation.holds
        assert {part.name for part in run.conservation.parts} >= {"idle", "prefill", "layers", "rest of decode"}
        assert run.conservation.sum_j == pytest.approx(run.conservation.metered_j, rel=0.005)


def test_requests_phases_and_tokens_have_medians_and_totals(compared):
    run = compared.summaries[0]
    assert run.request.median.value == pytest.approx(9.0 * 10.5, rel=0.02) and run.request.spans == 3
    assert run.token.median.value == pytest.approx(0.45, rel=0.02) and run.token.median_net.value == pytest.approx(
        0.275, rel=0.03
    )
    assert run.decode.per_token_net.value == pytest.approx(0.275, rel=0.01)
    assert run.gain.calibrated and run.gain.sd == pytest.approx(0.0005) and run.temperature_c == 50.0
    assert run.context == pytest.approx(32 + 100)


def test_one_run_of_each_is_compared_without_a_verdict(tmp_path):
    found = study(tmp_path, *arm("base", BASE, (9.0,)), *arm("cut", CUT, (8.0,)))
    (comparison,) = found.comparisons
    assert comparison.saving.known and comparison.outcome.claim == "undecided" and comparison.outcome.more_repeats == 2
    assert all(layer.claim == "" for layer in comparison.layers)
    assert "at least 2 runs" in found.answers[2].answer


def test_a_metered_run_is_not_compared_with_a_simulated_one(tmp_path):
    found = study(tmp_path, *arm("base", BASE, (9.0,)), *arm("cut", CUT, (8.0,), simulated=False))
    assert found.comparisons == () and "one was metered, the other simulated" in found.problems[0]
    assert all("no cut of the baseline" in answer.answer for answer in found.answers)


def test_another_meter_or_another_calibration_puts_both_gains_into_the_interval(tmp_path):
    other = RECORD | {"utc": "2026-02-02"}
    runs = [*arm("base", BASE, (9.0, 9.0), record=RECORD), *arm("cut", CUT, (8.0, 8.01), record=other)]
    (comparison,) = study(tmp_path, *runs).comparisons
    assert "the error of both gains is in the intervals" in comparison.notes[0] and comparison.saving.half_width > 0.001


def test_a_cut_of_another_model_has_no_expectation(tmp_path):
    stranger = model_map("2" * 64, cut_plan(n_head=(4, 4)), n_head=(3, 3))
    (comparison,) = study(tmp_path, *arm("base", BASE, (9.0, 9.0)), *arm("cut", stranger, (8.0, 8.0))).comparisons
    assert comparison.expected == () and comparison.outcome.claim == "impossible"
    assert "is no cut of base" in comparison.notes[0] and comparison.saving.known


def test_a_damaged_plan_counts_as_none(tmp_path):
    damaged = model_map("3" * 64, {"format": "epi-surgery plan", "shares": 7})
    (comparison,) = study(tmp_path, *arm("base", BASE, (9.0,)), *arm("cut", damaged, (8.0,))).comparisons
    assert "carries no plan" in comparison.notes[0] and not comparison.kappa.known


def test_another_load_is_said(tmp_path):
    (comparison,) = study(tmp_path, *arm("base", BASE, (9.0,)), *arm("cut", CUT, (8.0,), tokens=40)).comparisons
    assert "the load differs: tokens is 60 in base-0 and 40 in cut-0" in comparison.notes


STAMPS = {"mode": "blocks", "by": "C", "calls_per_token": 61}


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        (
            {"stamps": STAMPS},
            {"stamps": STAMPS | {"by": "Python"}},
            "by C in base-0 and stamps blocks by Python in cut-0",
        ),
        ({"detail": "halves"}, {"detail": "layer"}, "detail halves in base-0 and no word of stamps, detail layer in cut-0"),
        ({}, {"repeat_halves": {"seed": 1, "times": 2}}, "no word of stamps, repeat_halves 2 in cut-0"),
        ({"stamps": STAMPS}, {"stamps": STAMPS | {"calls_per_token": 59}}, ""),
        ({"repeat_layers": {"seed": 1, "times": 2}}, {"repeat_layers": {"seed": 9, "times": 2}}, ""),
    ],
)
def test_other_hooks_in_one_arm_are_said(tmp_path, here, there, said):
    runs = [*arm("base", BASE, (9.0,), settings=here), *arm("cut", CUT, (8.0,), settings=there)]
    (comparison,) = study(tmp_path, *runs).comparisons
    found = [note for note in comparison.notes if note.startswith("the hooks differ")]
    assert len(found) == bool(said) and said in "".join(found)


def test_without_idle_gross_figures_stand_and_net_ones_say_why(tmp_path):
    run = summarise(write_run(tmp_path / "r.mcap", idle=False))
    assert run.decode.per_token.known and run.decode.per_token_net.reason == NO_IDLE and NO_IDLE in run.warnings
    assert not run.idle.interval.known


def test_a_run_that_decoded_nothing_has_its_other_figures_and_is_not_compared(tmp_path):
    good, bare = (write_run(tmp_path / f"{len(kinds)}.mcap", label=f"k{len(kinds)}", model=model, kinds=kinds)
                  for kinds, model in (((), BASE), (("idle", "prefill"), CUT)))  # fmt: skip
    run = summarise(bare)
    assert run.prefill.total.known and not run.decode.per_token.known and run.layers == () and run.conservation.holds
    assert "k2 is not compared" in load_study([good, bare]).problems[0]


def test_an_aborted_run_keeps_its_figures_and_is_left_out_where_whole_ones_are(tmp_path):
    runs = [*arm("base", BASE, (9.0, 9.0)), *arm("cut", CUT, (8.0, 8.0)), *arm("broken", CUT, (8.0,), status="aborted")]
    found = study(tmp_path, *runs)
    assert [len(each.runs) for each in found.arms] == [2, 2]
    assert "broken-0 was cut short and is left out" in found.problems[0]
    assert any("ended as 'aborted'" in warning for warning in found.summaries[-1].warnings)
    assert found.summaries[-1].decode.per_token.known


def test_a_gap_in_the_middle_of_decoding_costs_no_energy_and_is_in_the_interval(tmp_path):
    whole, gappy = (summarise(write_run(tmp_path / f"{len(lost)}.mcap", lost=lost)) for lost in ((), ((10.3, 11.4),)))
    assert gappy.decode.spans == 3 and gappy.decode.total.holds(whole.decode.seconds * 9.0)
    assert gappy.decode.budget.gaps > 5 * whole.decode.budget.gaps and gappy.lost_frames == 22


def test_a_request_with_lost_energy_is_left_out_and_the_others_stand(tmp_path):
    run = summarise(write_run(tmp_path / "r.mcap", unknown_from_s=12.0))
    assert run.decode.spans == 2 and run.decode.tokens == 120
    assert run.decode.per_token.value == pytest.approx(0.45, rel=0.02)
    assert any("1 of 3 decode spans left out" in warning for warning in run.warnings)


def test_an_accuracy_of_zero_is_a_sentence(tmp_path):
    found = study(tmp_path, *arm("base", BASE, (9.0,)), *arm("cut", CUT | accuracy(0), (8.0,)))
    assert "answered nothing right" in found.arms[1].epi.epi.reason and not found.comparisons[0].epi_change.known
    assert "accuracy of at least two" in found.answers[4].answer


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"with_power": False}, "holds no power"), ({"with_spans": False}, "holds no spans")],
)
def test_runs_without_power_or_spans_are_named_and_the_others_used(tmp_path, changes, sentence):
    lame = write_run(tmp_path / "lame.mcap", **changes)
    with pytest.raises(RunFileError, match=sentence):
        load_study([lame])
    found = load_study([write_run(tmp_path / "good.mcap"), lame])
    assert len(found.summaries) == 1 and sentence in found.problems[0]


def test_an_uncalibrated_meter_says_what_its_interval_leaves_out(tmp_path):
    run = summarise(write_run(tmp_path / "r.mcap"))
    assert any("the error of sensors is not in it" in warning for warning in run.warnings)
    assert run.gain.sd == pytest.approx(0.001 / np.sqrt(3))


def test_a_drift_over_the_study_is_found_and_does_not_pass_for_a_saving(tmp_path):
    order = ("base", "cut", "cut", "base", "base", "cut", "cut", "base")
    runs = [
        {
            "label": f"{name}-{at}",
            "model": BASE if name == "base" else CUT,
            "busy_w": 9.0 * 1.01**at * (1 if name == "base" else 0.95),
        }
        for at, name in enumerate(order)
    ]
    (comparison,) = study(tmp_path, *runs).comparisons
    assert comparison.drift.claim == "drift" and comparison.adjusted.value == pytest.approx(0.05, abs=0.003)
    assert comparison.adjusted.half_width < comparison.saving.half_width


def test_costs_of_query_heads_and_kv_groups_are_told_apart_by_cuts_that_differ_in_them(tmp_path):
    def cut(sha, query, kv):
        return model_map(sha * 64, cut_plan(query=(16, query), kv=(4, kv)), n_head=(query // 2, query // 2))

    def watts(query, kv):
        return 9.0 - 0.2 * (16 - query) - 0.6 * (4 - kv)

    cuts = [("4", 12, 4), ("5", 8, 2), ("6", 12, 2)]
    runs = [*arm("base", BASE, (8.97, 9.03))]
    for sha, query, kv in cuts:
        runs += arm(f"q{query}k{kv}x", cut(sha, query, kv), (watts(query, kv) - 0.03, watts(query, kv) + 0.03))
    groups = study(tmp_path, *runs).groups
    assert groups.per_query_head.value == pytest.approx(0.2 * 0.05, rel=0.1) and groups.per_query_head.holds(0.01)
    assert groups.per_kv_group.value == pytest.approx(0.6 * 0.05, rel=0.1) and groups.per_kv_group.holds(0.03)
    (tmp_path / "fewer").mkdir()
    only_query = study(tmp_path / "fewer", *runs[:4]).groups
    assert "at least three runs more" in only_query.per_kv_group.reason


def test_a_probe_model_measures_its_layer_and_is_no_cut(tmp_path):
    probe = model_map("7" * 64, n_head=(8, 8, 8, 8, 8), probe={"layer": 1, "repeat": 4})
    more = 9.0 * (1 + 3 * 0.3)  # layer 1 takes three tenths of a token's energy, and stands there three times more
    runs = [*arm("base", BASE, (8.97, 9.03, 9.0), tokens=200), *arm("probe", probe, (more - 0.03, more + 0.03, more), tokens=200)]
    found = study(tmp_path, *runs)
    (probed,) = found.probes
    assert (probed.layer, probed.repeat) == (1, 4) and probed.joules.holds(0.3 * 9.0 * 0.05)
    assert probed.joules.half_width < 0.05 * probed.joules.value
    assert found.comparisons == ()


def test_a_probe_of_another_model_and_one_that_is_lost_in_the_scatter_give_no_figure(tmp_path):
    stranger = model_map("8" * 64, n_head=(8,) * 9, probe={"layer": 1, "repeat": 2})
    weak = model_map("9" * 64, n_head=(8,) * 3, probe={"layer": 0, "repeat": 2})
    runs = [*arm("base", BASE, (8.0, 9.5)), *arm("weak", weak, (9.3, 8.8)), *arm("strange", stranger, (9.0, 9.1))]
    reasons = {probed.arm: probed.joules.reason for probed in study(tmp_path, *runs).probes}
    assert "not resolved" in reasons["weak"] and "is no probe of base" in reasons["strange"]
