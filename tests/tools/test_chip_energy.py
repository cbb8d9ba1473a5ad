"""The metering chain: conservation, wrap, thresholds, direction, start codes and checksum failures."""

import itertools
import random

import pytest
from chip_bench import JOULES_PER_TICK_MC_1E6, MC_1E6_METERING, Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from epi_tools.chip import Atm90e26, ChipTiming, Circuit, Imperfections, Load, Mains, Sensors, SpiPort
from epi_tools.chip import registers as reg
from epi_tools.plant import Constant, Recorded, Sine, Steps

EXACT_J_PER_TICK = 1100 / (2.5 * (838_860_800 / 9e6) * 24 * 250) * 4576 / 10  # of PL = 4576 on the reference hardware
RESISTIVE = Circuit(load=Load(0, 1))


def running(source, circuit=RESISTIVE, metering=MC_1E6_METERING):
    bench = Bench(source, circuit)
    bench.start(metering)
    return bench


@settings(max_examples=60, deadline=None)
@given(
    watts=st.lists(st.floats(0.5, 100), min_size=1, max_size=20),
    gaps_ms=st.lists(st.floats(0.1, 20_000), min_size=1, max_size=30),
)
def test_energy_is_conserved_to_a_hundredth_of_a_pulse(watts, gaps_ms):
    """All ticks read, whenever they are read, plus the tick not finished, are the integral of the power."""
    source = Recorded([i * 1_000_000_000 for i in range(len(watts))], watts)
    bench = running(source)
    start_ns, ticks = bench.clock.now_ns, bench.read(reg.AP_ENERGY)
    for gap_ms in gaps_ms:
        bench.sleep_ms(gap_ms)
        ticks = ticks + bench.read(reg.AP_ENERGY)
    energy_j = integral(source, start_ns, bench.clock.now_ns)
    assert ticks * EXACT_J_PER_TICK <= energy_j + 1e-6
    assert ticks * EXACT_J_PER_TICK > energy_j - EXACT_J_PER_TICK * 1.001


def integral(source, start_ns, end_ns):
    energy_j = 0.0
    for piece_ns, watts in source.pieces(start_ns, end_ns):
        energy_j += watts * (piece_ns - start_ns) * 1e-9
        start_ns = piece_ns
    return energy_j


def test_the_nominal_tick_is_within_the_rounding_of_plconst():
    assert pytest.approx(JOULES_PER_TICK_MC_1E6, rel=1e-4) == EXACT_J_PER_TICK


@given(st.lists(st.floats(0.001, 30), min_size=1, max_size=50))
@settings(max_examples=30, deadline=None)
def test_how_often_is_read_does_not_matter(gaps_ms):
    often, once = running(Sine(7, 5, 0.1, 0)), running(Sine(7, 5, 0.1, 0))
    ticks = 0
    for gap_ms in gaps_ms:
        often.sleep_ms(gap_ms)
        ticks += often.read(reg.AP_ENERGY)
    once.clock.now_ns = often.clock.now_ns
    assert abs(once.read(reg.AP_ENERGY) - ticks) <= 1


def test_registers_wrap_without_losing_a_tick():
    bench = running(Constant(15))
    bench.read(reg.AP_ENERGY)
    bench.sleep_ms(1600_000)  # wraps once, at 1573 s
    expected = 1600 * 15 / EXACT_J_PER_TICK
    assert expected > 0x10000
    assert bench.read(reg.AP_ENERGY) == pytest.approx(expected - 0x10000, abs=1)


def test_cf_is_capped_and_registers_are_not():
    bench = running(Constant(720))  # 200 pulses a second
    bench.sleep_ms(10_000)
    assert bench.chip.cf1_pulses == pytest.approx(1000, abs=2)
    assert bench.read(reg.AP_ENERGY) == pytest.approx(7200 / EXACT_J_PER_TICK, abs=1)


def test_reversed_transformer_counts_as_reverse_energy():
    bench = running(Constant(5), Circuit(Sensors(reversed_ct=True), Load(0, 1)))
    bench.sleep_ms(100_000)
    assert bench.read(reg.AP_ENERGY) == 0
    reverse = bench.read(reg.AN_ENERGY)
    assert reverse == pytest.approx(500 / EXACT_J_PER_TICK, abs=1)
    assert bench.read(reg.AT_ENERGY) == reverse
    assert bench.read(reg.EN_STATUS) & 0x1000
    assert bench.read(reg.SYS_STATUS) & reg.REV_P_CHANGE


@pytest.mark.parametrize(("displacement", "forward", "sign"), [(-30, reg.RN_ENERGY, -1), (30, reg.RP_ENERGY, 1)])
def test_reactive_energy_by_the_current_s_displacement(displacement, forward, sign):
    bench = running(Constant(5), Circuit(load=Load(displacement, 0.6)))
    bench.sleep_ms(100_000)
    assert bench.read(forward) == pytest.approx(500 * 0.57735 / EXACT_J_PER_TICK, abs=1)
    assert bench.read_24(reg.Q_MEAN) == pytest.approx(sign * 5 * 0.57735, abs=0.01)
    assert bench.read(reg.P_ANGLE) == (0x8000 if sign < 0 else 0) + 300
    assert bench.read(reg.POWER_F) == pytest.approx(866 * 0.6, abs=2)


def test_an_idle_pi_is_invisible_below_the_default_start_threshold():
    """08BDH is 4.40 W on the reference hardware: 4.3 W never starts, 4.5 W does, and the reset no-load threshold of 0
    never stops it again."""
    metering = (0x0015, 0xD174, 0, 0, 0, 0, 0x08BD, 0, 0x0AEC, 0, 0x7422)
    bench = running(Steps([(4.3, 1000), (4.5, 1000), (0.1, 1e6)], 0), metering=metering)
    bench.sleep_ms(900_000)
    assert bench.read(reg.EN_STATUS) & 0x4000
    assert bench.read(reg.AP_ENERGY) == 0
    bench.sleep_ms(1_000_000)
    assert not bench.read(reg.EN_STATUS) & 0x4000
    bench.sleep_ms(1_000_000)
    assert not bench.read(reg.EN_STATUS) & 0x4000
    assert bench.read(reg.AP_ENERGY) > 0


def test_no_load_threshold_stops_counting():
    bench = running(Steps([(5, 100), (0.05, 1000)], 0))  # thresholds 100 and 50 raw: 0.197 W and 0.098 W
    bench.sleep_ms(200_000)
    bench.read(reg.AP_ENERGY)
    assert bench.read(reg.EN_STATUS) & 0x4000
    bench.sleep_ms(500_000)
    assert bench.read(reg.AP_ENERGY) == 0


@pytest.mark.parametrize("code", [0x6886, 0x1234])
def test_metering_that_was_not_started_stays_at_zero(code):
    bench = Bench(Constant(1000))
    bench.write(reg.CAL_START, code)
    bench.sleep_ms(100_000)
    assert bench.read(reg.AP_ENERGY) == 0
    assert bool(bench.read(reg.SYS_STATUS) & reg.CAL_ERR) is (code == 0x1234)
    assert bench.chip.warn_out is (code == 0x1234)


def test_5678_restores_the_block_and_runs_unchecked():
    bench = Bench(Constant(1000))
    bench.write(reg.L_GAIN, 0x1234)
    bench.write(reg.CAL_START, reg.SETTING)
    assert bench.read(reg.L_GAIN) == 0
    assert bench.read(reg.CS1) == 0x55CB
    bench.sleep_ms(100_000)
    assert bench.read(reg.AP_ENERGY) > 0


def test_a_gain_changed_without_its_checksum_stops_energy_but_not_power():
    """The most reported trouble of this chip (whatnick issues 8, 10 and 17)."""
    bench = running(Constant(100))
    bench.sleep_ms(1000)
    bench.write(reg.L_GAIN, 0x0100)
    bench.sleep_ms(100)
    bench.read(reg.AP_ENERGY)
    bench.sleep_ms(10_000)
    assert bench.read(reg.AP_ENERGY) == 0
    assert bench.read_24(reg.P_MEAN) == pytest.approx(100, rel=1e-3)
    assert bench.chip.warn_out and bench.chip.irq
    assert bench.read(reg.SYS_STATUS) & reg.CAL_ERR == reg.CAL_ERR
    bench.sleep_ms(100)
    assert bench.read(reg.SYS_STATUS) & reg.CAL_ERR  # read-clear, but the fault is still there
    bench.start()
    bench.read(reg.SYS_STATUS)
    bench.sleep_ms(10_000)
    assert bench.read(reg.AP_ENERGY) > 0
    assert bench.read(reg.SYS_STATUS) == 0


def test_a_corrupted_measurement_block_freezes_readings_silently():
    """AN 2.3.3: measurement registers stop, AdjErr and IRQ rise, WarnOut does not; energy goes on."""
    bench = running(Steps([(100, 10), (200, 1000)], 1_000_000_000))
    bench.sleep_ms(5000)
    bench.chip.corrupt(reg.I_GAIN_L, 0x7A12)
    bench.sleep_ms(10_000)
    assert bench.read_24(reg.P_MEAN) == pytest.approx(100, rel=1e-3)
    assert bench.read(reg.SYS_STATUS) & (reg.ADJ_ERR | reg.CAL_ERR) == reg.ADJ_ERR
    assert bench.chip.irq is False and bench.chip.warn_out is False  # just cleared by the read, not yet raised again
    bench.sleep_ms(100)
    assert bench.chip.irq is True and bench.chip.warn_out is False
    bench.read(reg.AP_ENERGY)
    bench.sleep_ms(10_000)
    assert bench.read(reg.AP_ENERGY) == pytest.approx(2000 / EXACT_J_PER_TICK, abs=1)


def test_pl_const_high_takes_effect_with_low():
    bench = running(Constant(100))
    bench.write(reg.CAL_START, reg.SETTING)
    bench.write(reg.M_MODE, 0x7422)
    bench.write(reg.PL_CONST_H, 0)
    bench.read(reg.AP_ENERGY)
    bench.sleep_ms(36_000)
    assert bench.read(reg.AP_ENERGY) == pytest.approx(3600 / 112.5, abs=1)  # still the reset value's 3200 imp/kWh
    bench.write(reg.PL_CONST_L, 4576)
    bench.sleep_ms(36_000)
    assert bench.read(reg.AP_ENERGY) == pytest.approx(3600 / EXACT_J_PER_TICK, abs=1)


def test_brown_out_resets_everything_and_loses_unread_energy():
    bench = running(Constant(1000))
    bench.sleep_ms(10_000)
    bench.chip.brown_out()
    bench.sleep_ms(10)
    assert bench.read(reg.CAL_START) == 0x6886
    assert bench.read(reg.FUNC_EN) == 0x000C
    assert bench.read(reg.EN_STATUS) == 0xC801
    assert bench.read(reg.AP_ENERGY) == 0


def test_soft_reset_needs_its_key():
    bench = running(Constant(1000))
    bench.write(reg.SOFT_RESET, 0x789B)
    assert bench.read(reg.CAL_START) == reg.CHECKED
    bench.write(reg.SOFT_RESET, reg.SOFT_RESET_KEY)
    bench.sleep_ms(10)
    assert bench.read(reg.CAL_START) == reg.POWER_ON


def test_the_two_chains_have_gains_of_their_own():
    """Igain moves Pmean and not energy; Lgain the other way round."""
    half_igain = (0x6720, 0x7A13 // 2, 0x7530, 0, 0, 0, 0, 0, 0, 0)
    bench = Bench(Constant(100), RESISTIVE)
    bench.start((*MC_1E6_METERING[:2], 0x4000, *MC_1E6_METERING[3:]), half_igain)
    bench.sleep_ms(100_000)
    assert bench.read_24(reg.P_MEAN) == pytest.approx(50, rel=1e-3)
    assert bench.read(reg.AP_ENERGY) == pytest.approx(1.5 * 10_000 / EXACT_J_PER_TICK, rel=1e-3)


def test_crystal_and_reference_drift_scale_energy_by_their_ppm():
    flaws = Imperfections(crystal_ppm=100, reference_ppm_per_c=40)
    bench = running(Constant(100), Circuit(load=Load(0, 1), flaws=flaws))
    bench.read(reg.AP_ENERGY)
    bench.sleep_ms(200_000)
    cold = bench.read(reg.AP_ENERGY) * EXACT_J_PER_TICK / 20_000
    bench.chip.change(temperature_c=45.0)
    bench.sleep_ms(200_000)
    warm = bench.read(reg.AP_ENERGY) * EXACT_J_PER_TICK / 20_000
    assert cold == pytest.approx(1 + 100e-6, abs=5e-5)
    assert warm - cold == pytest.approx(-2 * 20 * 40e-6, abs=8e-5)


def test_sag_is_flagged_below_its_threshold_only():
    bench = running(Constant(100))
    bench.write(reg.FUNC_EN, reg.SAG_EN | reg.SAG_WO)
    assert not bench.chip.warn_out
    bench.chip.change(mains=Mains(volts=180))  # the reset threshold: 78 % of 220 V is 171.6 V
    assert not bench.chip.warn_out
    bench.chip.change(mains=Mains(volts=165))
    assert bench.chip.warn_out
    assert bench.read(reg.SYS_STATUS) & reg.SAG_WARN


@pytest.mark.parametrize(
    ("straps", "share", "expected"), [(0b01, 1.0, 1.0), (0b10, 1.0, 2.0), (0b11, 0.5, 1.0), (0b00, 2.0, 2.0)]
)
def test_strap_pins_choose_the_metered_line(straps, share, expected):
    """L fixed, L plus N, LNSel (reset: L), and the larger of the two, with the same gain of 1 on both inputs."""
    circuit = Circuit(Sensors(neutral_share=share), Load(0, 1))
    now = [1_000_000_000]
    bench = Bench(Constant(100))
    bench.chip = Atm90e26(Constant(100), lambda: now[0], circuit, straps=straps)
    bench.port = SpiPort(bench.chip, lambda: now[0])
    now[0] += 10_000_000
    bench.start((*MC_1E6_METERING[:10], 0x9422))  # gain 1 on both
    now[0] += 1_000_000_000_000
    ticks = bench.read(reg.AP_ENERGY)
    assert ticks == pytest.approx(expected * 100_000 / 24 / EXACT_J_PER_TICK, abs=2)
    assert bench.read(reg.EN_STATUS) & 3 == straps


def test_a_window_that_starts_ramps_up_and_then_settles():
    timing = ChipTiming(refresh_ns=10_000_000, window_ns=300_000_000)
    bench = Bench(Constant(100), RESISTIVE, timing)
    bench.start()
    readings = []
    for _ in range(40):
        bench.sleep_ms(10)
        readings.append(bench.read_24(reg.P_MEAN))
    assert readings[2] < 15
    assert readings == sorted(readings)
    assert readings[-1] == pytest.approx(100, rel=1e-3)


def test_readings_change_only_at_the_refresh_and_lag_by_the_window():
    timing = ChipTiming(refresh_ns=50_000_000, window_ns=200_000_000)
    bench = Bench(Steps([(100, 3), (200, 100)], 0), RESISTIVE, timing)
    bench.start()
    bench.clock.now_ns = 3_000_000_000
    seen = []
    for _ in range(400):
        seen.append((bench.clock.now_ns, bench.read_24(reg.P_MEAN)))
        bench.clock.now_ns += 1_000_000
    changes = [b[0] - a[0] for a, b in itertools.pairwise(seen) if b[1] != a[1]]
    assert len(changes) in (4, 5)  # the step crosses a window of four refreshes
    assert seen[-1][1] == pytest.approx(200, rel=1e-3)
    assert all(99 < value < 201 for _, value in seen)


def test_noise_has_its_width_and_its_seed():
    flaws = Imperfections(noise_w=0.01)
    draws = []
    for _ in range(2):
        bench = Bench(Constant(5), Circuit(load=Load(0, 1), flaws=flaws), seed=7)
        bench.start()
        bench.sleep_ms(1000)
        draws.append([])
        for _ in range(400):
            bench.sleep_ms(50)
            draws[-1].append(bench.read_24(reg.P_MEAN))
    assert draws[0] == draws[1]
    mean = sum(draws[0]) / 400
    width = (sum((value - mean) ** 2 for value in draws[0]) / 400) ** 0.5
    assert mean == pytest.approx(5, abs=0.005)
    assert 0.008 < width < 0.012


def test_typical_chips_differ_and_stay_in_class():
    rng = random.Random(1)
    chips = [Imperfections.typical(rng) for _ in range(200)]
    assert len({chip.crystal_ppm for chip in chips}) == 200
    assert all(abs(chip.metering_error) <= 1e-3 and abs(chip.crystal_ppm) <= 100 for chip in chips)
