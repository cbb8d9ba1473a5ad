"""The demo's last word: metered against true energy, both stamped with the same clock."""

import math

import pytest

from epi_tools.demo.truth_check import check, check_table

TRUTH = {"series": {"host_ns": [0, 10, 20, 30], "energy_j": [[0.0, 100.0, 200.0, 300.0], [0.0, 0.0, 0.0, 0.0]]}}


def report(*windows):
    """A report whose channel 0 metered so many joules in each window, and whose channel 1 saw nothing."""
    channels = [
        [{"begin_ns": begin, "end_ns": end, "energy_j": joules}, {"begin_ns": begin, "end_ns": end, "energy_j": 0.0}]
        for begin, end, joules in windows
    ]
    return {"runs": [{"channels": pair} for pair in channels]}


def test_energy_between_two_entries_of_the_truth_is_taken_on_the_line():
    (row, _silent) = check(report((5, 25, 200.0)), TRUTH)
    assert row.true_j == pytest.approx(200.0) and row.error == pytest.approx(0) and row.within


def test_several_runs_add_up():
    (row, _silent) = check(report((5, 10, 50.0), (20, 25, 51.0)), TRUTH)
    assert row.true_j == pytest.approx(100.0) and row.error == pytest.approx(0.01) and not row.within


@pytest.mark.parametrize("window", [(5, 25, None), (5, 40, 200.0), (-5, 25, 200.0)])
def test_what_is_missing_is_out_of_tolerance_and_not_zero(window):
    (row, silent) = check(report(window), TRUTH)
    assert math.isnan(row.error) and not row.within
    assert not silent.within, "no energy is no proof"


def test_a_run_with_a_marked_gap_is_told_and_the_others_are_held_against_the_truth():
    rows = check(report((5, 10, 50.0), (12, 20, None), (20, 25, 50.1)), TRUTH)
    assert rows[0].gaps == 1 and rows[0].true_j == pytest.approx(100.0) and rows[0].within
    assert "without 1 run whose energy has a marked gap" in check_table(rows)
    (wrong, _silent) = check(report((5, 10, 51.0), (12, 20, None)), TRUTH)
    assert wrong.gaps == 1 and not wrong.within, "a gap excuses no other run"


def test_the_table_says_simulated():
    assert "simulated" in check_table(check(report((5, 25, 200.0)), TRUTH)).splitlines()[0]
