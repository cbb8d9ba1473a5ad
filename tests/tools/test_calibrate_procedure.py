"""The whole procedure in virtual time, on the real firmware and the register-exact chip: hidden errors are found and go."""

import json
import re
from dataclasses import replace

import pytest
from calibrate_bench import (
    LAGGING,
    UNITY,
    VOLTS,
    WATTS,
    Helper,
    VirtualBench,
    plan,
    true_energy_error,
    true_lag_deg,
)

from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.plan import GAIN, OFFSETS, PHASE, THRESHOLDS, TURNS, Sensor
from epi_tools.calibrate.procedure import Procedure
from epi_tools.chip import PI_SENSORS


def bench_with(gain=1.0, phase_deg=0.0, voltage=1.0, **others):
    """A bench whose current transformer reads `gain` times too much and lags, and whose divider reads `voltage` times."""
    sensors = replace(PI_SENSORS, current_error=gain - 1, voltage_error=voltage - 1, current_phase_deg=phase_deg)
    return VirtualBench(sensors, **others)


@pytest.mark.parametrize(
    ("gain", "phase_deg", "voltage", "hz"),
    [(1.013, 0.8, 1.0, 50.0), (0.94, -2.5, 1.03, 50.0), (1.08, 4.0, 0.97, 60.0), (1.0, 0.0, 1.0, 50.0)],
)
def test_hidden_errors_are_found_and_taken_away(gain, phase_deg, voltage, hz):
    bench = bench_with(gain, phase_deg, voltage, hz=hz)
    outcome = Procedure(bench, Helper(bench), plan()).run()
    assert outcome.found.gain == pytest.approx(gain * voltage * (1 + 30e-6) - 1, abs=1e-3)
    assert outcome.found.lag_deg == pytest.approx(phase_deg, abs=0.08)
    assert abs(true_energy_error(bench, UNITY)) < 1e-3
    assert abs(true_energy_error(bench, LAGGING)) < 3e-3
    assert abs(true_lag_deg(bench)) < 0.1
    assert abs(outcome.residual.gain) < 1e-3 and abs(outcome.residual.lag_deg) < 0.1
    assert abs(outcome.after.power) < 1e-3 and abs(outcome.after.voltage) < 1e-4
    assert outcome.stored and outcome.not_done == (TURNS, THRESHOLDS)


def test_one_sample_a_second_is_enough():
    """A board with Wi-Fi sends its samples to the network, and one a second to USB, where it is calibrated."""
    bench = bench_with(1.013, 0.8, every=4)
    outcome = Procedure(bench, Helper(bench), plan()).run()
    assert outcome.stored and outcome.found.gain == pytest.approx(0.013, abs=1e-3)
    assert abs(true_energy_error(bench, UNITY)) < 1e-3 and abs(true_lag_deg(bench)) < 0.1


def test_the_record_and_the_registers_stand_in_the_file():
    bench = bench_with(1.013, 0.8)
    outcome = Procedure(bench, Helper(bench), plan(ct="1000:1", turns=4, celsius=21)).run()
    channel = json.loads(bench.text)["channels"][0]
    assert channel["calibration"] == outcome.record
    record = outcome.record
    assert record["gain_ppm"] == pytest.approx(13_000, abs=1000)
    assert record["phase_mdeg"] == pytest.approx(800, abs=80)
    assert 0 < record["within_ppm"] <= 1000
    assert (record["utc"], record["ct"], record["turns"], record["celsius"]) == ("2026-01-02", "1000:1", 4, 21)
    assert channel["l_gain"] == outcome.new_registers.l_gain != 0
    assert json.loads(bench.text)["channels"][1:] == [{}, {}, {}]
    assert json.loads(bench.text)["sample_hz"] == 4
    assert bench.stores == 1


def test_loads_are_verified_in_reverse_and_the_person_is_told_what_was_found():
    bench = bench_with(1.02)
    helper = Helper(bench)
    Procedure(bench, helper, plan()).run()
    assert helper.prepared == [(OFFSETS, False), (GAIN, False), (PHASE, False), (PHASE, True), (GAIN, True)]
    (found,) = [text for text in helper.said if "Store" in text]
    assert float(re.search(r"the energy reads ([+-]\d+\.\d+)%", found)[1]) == pytest.approx(2.0, abs=0.05)


def test_without_a_lagging_load_the_phase_is_left_alone_and_named():
    bench = bench_with(1.013, 0.8)
    outcome = Procedure(bench, Helper(bench, steps=(OFFSETS, GAIN)), plan()).run()
    assert PHASE in outcome.not_done and outcome.new_registers.l_phi == 0
    assert "phase_mdeg" not in outcome.record
    assert abs(true_energy_error(bench, UNITY)) < 1e-3


def test_the_phase_alone_after_the_gain():
    bench = bench_with(0.97, 1.5)
    Procedure(bench, Helper(bench, steps=(GAIN,)), plan(steps=(GAIN,))).run()
    outcome = Procedure(bench, Helper(bench, steps=(PHASE,)), plan(steps=(PHASE,))).run()
    assert outcome.record["phase_mdeg"] == pytest.approx(1500, abs=80)
    assert outcome.record["gain_ppm"] == pytest.approx(-30_000, abs=1500)
    assert abs(true_lag_deg(bench)) < 0.1 and abs(true_energy_error(bench, UNITY)) < 2e-3


def test_a_second_calibration_starts_from_the_first():
    bench = bench_with(1.05)
    Procedure(bench, Helper(bench, steps=(GAIN,)), plan(steps=(GAIN,))).run()
    bench.hidden = replace(bench.hidden, current_error=0.04)
    outcome = Procedure(bench, Helper(bench, steps=(GAIN,)), plan(steps=(GAIN,))).run()
    assert outcome.found.gain == pytest.approx(1.04 / 1.05 - 1, abs=1e-3)
    assert abs(true_energy_error(bench, UNITY)) < 1e-3


def test_offsets_that_were_wrong_are_mended():
    bench = bench_with(text='{"sample_hz":4,"settle_ms":500,"channels":[{"p_offset":3000,"q_offset":63536}]}', watts=(WATTS,) * 4)
    outcome = Procedure(bench, Helper(bench, steps=(OFFSETS,)), plan(steps=(OFFSETS,))).run()
    registers = bench.registers()
    # A unit of Poffset is 19 uW here, and the mean of twenty seconds is good to a milliwatt.
    assert abs(registers.p_offset - (0x10000 if registers.p_offset > 0x8000 else 0)) < 100
    assert abs(registers.q_offset - (0x10000 if registers.q_offset > 0x8000 else 0)) < 100
    assert outcome.record is None and outcome.stored


def test_offsets_that_are_right_stay():
    bench = bench_with()
    outcome = Procedure(bench, Helper(bench, steps=(OFFSETS,)), plan(steps=(OFFSETS,))).run()
    assert (outcome.new_registers.p_offset, outcome.new_registers.q_offset) == (0, 0)


def test_other_turns_change_the_nominal_sensitivity_first():
    bench = bench_with()
    bench.hidden = replace(bench.hidden, current_mv_per_a=12.0, current_error=0.01)
    Procedure(bench, Helper(bench, steps=(GAIN,)), plan(steps=(TURNS, GAIN), sensor=Sensor(2, 1000, 6.0))).run()
    assert json.loads(bench.text)["channels"][0]["current_uv_per_a"] == 12_000
    assert abs(true_energy_error(bench, UNITY)) < 1e-3


def test_the_threshold_follows_the_watts():
    bench = bench_with()
    outcome = Procedure(bench, Helper(bench, steps=()), plan(steps=(THRESHOLDS,), start_mw=500)).run()
    assert outcome.start_mw == 500 and json.loads(bench.text)["channels"][0]["start_mw"] == 500
    assert outcome.new_registers.p_start_th == pytest.approx(2.5 * outcome.old_registers.p_start_th, abs=2)


def test_a_dry_run_and_a_refusal_store_nothing():
    for changes, answer in (({"dry_run": True}, True), ({}, False)):
        bench = bench_with(1.03)
        helper = Helper(bench, steps=(GAIN,))
        helper.agrees = lambda _question, answer=answer: answer
        outcome = Procedure(bench, helper, plan(steps=(GAIN,), **changes)).run()
        assert not outcome.stored and outcome.after is None and bench.stores == 0
        assert outcome.found.gain == pytest.approx(0.03, abs=1e-3)
        assert outcome.new_registers.l_gain != outcome.old_registers.l_gain


# --- what goes wrong at a bench ------------------------------------------------------------------------------------------


def refused(bench, helper=None, **changes):
    """The sentence of a calibration that must not store anything."""
    before = bench.text
    with pytest.raises(CalibrationError) as caught:
        Procedure(bench, helper or Helper(bench, steps=(GAIN,)), plan(**{"steps": (GAIN,)} | changes)).run()
    assert bench.text == before and bench.stores == 0
    sentence = str(caught.value)
    assert "nothing was stored" in sentence and sentence.endswith(".")
    return sentence


def test_a_load_switched_off_mid_way():
    bench = bench_with()
    helper = Helper(bench, steps=(GAIN,))

    def off(seconds):
        if helper.prepared and seconds > 15:
            bench.connect(None)

    bench.before_sweep = off
    assert "changed while it was measured, between" in refused(bench, helper)


def test_a_load_that_changes_by_a_hundredth():
    bench = bench_with()
    helper = Helper(bench, steps=(GAIN,))

    def dim(seconds):
        if helper.prepared and seconds > 15:
            bench.board.chips[0].change(sensors=replace(bench.hidden, current_error=-0.01))

    bench.before_sweep = dim
    assert "changed while it was measured" in refused(bench, helper)


def test_a_reversed_transformer():
    bench = VirtualBench(replace(PI_SENSORS, reversed_ct=True))
    assert "sits the wrong way round" in refused(bench)


def test_the_load_is_on_another_channel():
    assert "the load is on channel 2" in refused(VirtualBench(watts=(0.0, 0.0, WATTS, 0.0)))


def test_two_channels_are_swapped():
    assert "channel 3" in refused(VirtualBench(watts=(8.0, 0.0, 0.0, WATTS)))


def test_no_load_at_all():
    assert "switch the load on" in refused(VirtualBench(watts=(0.0,) * 4))


def test_a_reference_in_kilowatts_by_mistake():
    bench = bench_with()
    assert "was in kW" in refused(bench, Helper(bench, steps=(GAIN,), watts=WATTS / 1000))


def test_wrong_turns_are_named():
    bench = VirtualBench(replace(PI_SENSORS, current_mv_per_a=18.0))
    assert "as with 3 turns" in refused(bench)


def test_an_open_circuit_that_is_not_open():
    bench = bench_with()
    helper = Helper(bench, steps=(OFFSETS,))
    helper.prepare = lambda _step, again: None
    assert "still measures 25.0" in refused(bench, helper, steps=(OFFSETS,))


def test_a_lagging_load_for_the_gain():
    bench = bench_with()
    helper = Helper(bench, steps=(GAIN,))
    prepare = helper.prepare

    def wrong(step, again):
        reference = prepare(step, again)
        bench.connect(LAGGING)
        return reference

    helper.prepare = wrong
    assert "is taken to have PF 1, and its P and Q make 0.50" in refused(bench, helper)


def test_too_short_for_the_tolerance():
    bench = bench_with()
    assert "measure for" in refused(bench, seconds=4.0)


def test_a_phase_before_any_gain():
    bench = bench_with(1.03, 0.8)
    assert "once its gain is right" in refused(bench, Helper(bench, steps=(PHASE,)), steps=(PHASE,))


def test_an_absent_chip():
    bench = bench_with()
    bench.board.chips[0].power_off()
    assert "does not answer" in refused(bench)


def test_a_channel_the_board_does_not_have():
    bench = VirtualBench(text='{"channels":[{},{}]}', watts=(WATTS, 0.0, 0.0, 0.0))
    with pytest.raises(CalibrationError, match="channels 0 to 1"):
        Procedure(bench, Helper(bench), plan(channel=2))


def test_what_the_second_measurement_does_not_confirm_is_taken_back():
    bench = bench_with(1.02)
    helper = Helper(bench, steps=(GAIN,))
    prepare, before = helper.prepare, bench.text

    def drifting(step, again):
        if again:
            bench.hidden = replace(bench.hidden, current_error=bench.hidden.current_error + 0.003)
        return prepare(step, again)

    helper.prepare = drifting
    with pytest.raises(CalibrationError, match=r"off by \+0\.[23].*; the board's old settings were put back\.$"):
        Procedure(bench, helper, plan(steps=(GAIN,))).run()
    assert bench.text == before


def test_a_person_who_stops_during_the_verification():
    bench = bench_with(1.02)
    helper = Helper(bench, steps=(GAIN,))
    prepare, before = helper.prepare, bench.text

    def stopping(step, again):
        if again:
            raise KeyboardInterrupt
        return prepare(step, again)

    helper.prepare = stopping
    with pytest.raises(CalibrationError, match="Stopped; the board's old settings were put back"):
        Procedure(bench, helper, plan(steps=(GAIN,))).run()
    assert bench.text == before


def test_a_chip_that_lost_a_bit_on_the_way_is_noticed(monkeypatch):
    bench = bench_with(1.02)
    before, store = bench.text, bench.store

    def lossy(text, checked=True):
        after = store(text, checked)
        bench.logs.append("pi1: set up; the chip's checksums are 1234H and 5678H, as computed")
        return after

    monkeypatch.setattr(bench, "store", lossy)
    monkeypatch.setattr("epi_tools.calibrate.procedure.collect", _without_new_logs(bench))
    with pytest.raises(CalibrationError, match="Read-back failed: the chip of pi1 holds registers with checksums 1234 5678"):
        Procedure(bench, Helper(bench, steps=(GAIN,)), plan(steps=(GAIN,))).run()
    assert bench.text == before


def _without_new_logs(bench):
    from epi_tools.calibrate.measuring import collect

    def collecting(*arguments):
        if not bench.logs:
            return collect(*arguments)
        kept = list(bench.logs)
        sweeps = collect(*arguments)
        bench.logs[:] = kept
        return sweeps

    return collecting


def test_volts_and_watts_are_what_the_helper_says():
    bench = bench_with()
    seen = Procedure(bench, Helper(bench, steps=(GAIN,)), plan(steps=(GAIN,))).run().before
    assert seen.voltage == pytest.approx(0, abs=1e-3) and VOLTS == 230.1
