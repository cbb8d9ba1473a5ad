"""The chip model against figures printed by others: reset values, checksum vectors, the application note's examples."""

import pytest
from chip_bench import REFERENCE_MEASURING, REFERENCE_METERING, Bench
from hypothesis import given
from hypothesis import strategies as st

from epi_tools.chip import Circuit, Load, Mains, Sensors, block_checksum
from epi_tools.chip import registers as reg
from epi_tools.chip.analog import line_gain, neutral_gain
from epi_tools.chip.formats import extend, from_complement, from_signed, to_complement, to_signed
from epi_tools.plant import Constant

RESISTIVE = Load(displacement_deg=0, distortion=1)
TAIL = (0x08BD, 0, 0x0AEC, 0)
REFERENCE_W = 1100 * 31251 / 31250  # the reset value of IgainL is a rounded number
NO_OFFSETS = (0, 0, 0, 0, 0, 0, 0)

VECTORS = {
    "CS1 reset values": ((0x0015, 0xD174, 0, 0, 0, 0, *TAIL, 0x9422), 0x55CB),
    "CS2 reset values": ((0x6720, 0x7A13, 0x7530, *NO_OFFSETS), 0x6BB9),
    "CS1 whatnick": ((0x00B9, 0xC1F3, 0x1D39, 0, 0, 0, *TAIL, 0x9422), 0x4A34),
    "CS2 whatnick": ((0xD464, 0x6E49, 0x7530, *NO_OFFSETS), 0xD294),
    "CS1 MCHP": ((0x0010, 0x0000, 0x050E, 0, 0, 0, *TAIL, 0x7422), 0x1E74),
    "CS2 MCHP": ((0x67D6, 0x55F8, 0x3FF8, *NO_OFFSETS), 0xDBC1),
    "CS1 AN examples": ((0x0015, 0xD174, 0x1475, 0x0024, 0, 0, *TAIL, 0x7C22), 0xF860),
    "CS2 AN examples": ((0x5C3B, 0x5AA7, 0x7530, 0, 0, 0, 0x0035, 0, 0, 0), 0xEA72),
}


@pytest.mark.parametrize(("words", "checksum"), VECTORS.values(), ids=VECTORS)
def test_checksum_vectors(words, checksum):
    assert block_checksum(words) == checksum


@pytest.mark.parametrize(("words", "checksum"), VECTORS.values(), ids=VECTORS)
def test_the_chip_reads_back_its_own_checksum_and_starts_on_it(words, checksum):
    bench = Bench(Constant(5))
    start, result, error = (reg.CAL_START, reg.CS1, reg.CAL_ERR) if len(words) == 11 else (reg.ADJ_START, reg.CS2, reg.ADJ_ERR)
    bench.write_block(start, words, checksum)
    assert bench.read(result) == checksum
    bench.write(start, reg.CHECKED)
    assert bench.read(reg.SYS_STATUS) & error == 0
    bench.write(result, checksum ^ 1)
    assert bench.read(result) == checksum  # still what the chip computes, not what was written
    bench.write(start, reg.CHECKED)
    assert bench.read(reg.SYS_STATUS) & error == error


@pytest.mark.parametrize(
    ("address", "value"),
    [
        (reg.FUNC_EN, 0x000C),
        (reg.SAG_TH, 0x1D6A),
        (reg.CAL_START, 0x6886),
        (reg.ADJ_START, 0x6886),
        (reg.PL_CONST_H, 0x0015),
        (reg.PL_CONST_L, 0xD174),
        (reg.P_START_TH, 0x08BD),
        (reg.Q_START_TH, 0x0AEC),
        (reg.M_MODE, 0x9422),
        (reg.U_GAIN, 0x6720),
        (reg.I_GAIN_L, 0x7A13),
        (reg.I_GAIN_N, 0x7530),
        (reg.CS1, 0x55CB),
        (reg.CS2, 0x6BB9),
        (reg.LAST_DATA, 0),
        (reg.EN_STATUS, 0xC800 | 0b01),  # C800H, and the strap pins of this board
        (reg.SYS_STATUS, 0),
    ],
)
def test_reset_values(address, value):
    assert Bench(Constant(5)).read(address) == value


def test_reference_hardware_reads_true_with_the_application_notes_registers():
    """220 V, 5 A at unity power factor: 1100 W, and 3200 pulses per kWh (AN 3.2.1 and reset values)."""
    bench = Bench(Constant(1100), Circuit(load=RESISTIVE, mains=Mains(220, 50)))
    bench.start(REFERENCE_METERING, REFERENCE_MEASURING)
    bench.sleep_ms(3_600_000)
    assert bench.read(reg.U_RMS) == 22000
    assert bench.read(reg.I_RMS) == 5000
    assert bench.read_24(reg.P_MEAN) == pytest.approx(REFERENCE_W, rel=1e-6)
    assert bench.read(reg.S_MEAN) == 1100
    assert bench.read(reg.FREQ) == 0x1388
    assert bench.read(reg.POWER_F) == 1000
    assert bench.read(reg.AP_ENERGY) == pytest.approx(3200 * 1.1 * 10, abs=1)
    assert bench.chip.cf1_pulses == pytest.approx(3200 * 1.1, abs=1)


def test_reversed_power_factor_is_83e8():
    circuit = Circuit(Sensors(reversed_ct=True), RESISTIVE, Mains(220, 50))
    bench = Bench(Constant(1100), circuit)
    bench.start(REFERENCE_METERING, REFERENCE_MEASURING)
    bench.sleep_ms(1000)
    assert bench.read(reg.POWER_F) == 0x83E8
    assert bench.read_24(reg.P_MEAN) == pytest.approx(-REFERENCE_W, rel=1e-6)


def test_lgain_example():
    """An energy error of -13.78 % is cured by 1475H (AN 3.2.3)."""
    circuit = Circuit(Sensors(current_error=-0.1378), RESISTIVE, Mains(220, 50))
    bench = Bench(Constant(1100), circuit)
    bench.start((0x0015, 0xD174, 0x1475, *REFERENCE_METERING[3:]))
    bench.sleep_ms(3_600_000)
    assert bench.read(reg.AP_ENERGY) == pytest.approx(35200, rel=5e-5)


def test_lphi_example():
    """An energy error of +0.95 % at power factor 0.5 inductive is cured by 24H (AN 3.2.4)."""
    lag_error = -0.3143  # degrees; d(cos)/cos = -tan(60 deg) * d(phi)
    circuit = Circuit(Sensors(current_phase_deg=lag_error), Load(60, 1), Mains(220, 50))
    energies = []
    for phi in (0, 0x0024):
        bench = Bench(Constant(550), circuit)
        bench.start((0x0015, 0xD174, 0, phi, *REFERENCE_METERING[4:]))
        bench.sleep_ms(3_600_000)
        energies.append(bench.read(reg.AP_ENERGY) / 17600 - 1)
    assert energies[0] == pytest.approx(0.0095, abs=1e-4)
    assert energies[1] == pytest.approx(0, abs=2e-4)  # 35.76 steps rounded to 36, and one tick


def test_small_power_offset_example():
    """A small-power reading of FFCBH is nulled by an offset of 35H (AN 3.2.2)."""
    bench = Bench(Constant(0), Circuit(load=RESISTIVE, mains=Mains(220, 50)))
    bench.start(REFERENCE_METERING, (*REFERENCE_MEASURING[:6], 0x10000 - 0x35, 0, 0, 0))
    bench.write(reg.SMALL_P_MOD, reg.SMALL_POWER_KEY)
    bench.sleep_ms(1000)
    assert bench.read(reg.P_MEAN) == 0xFFCB
    bench.start(REFERENCE_METERING, REFERENCE_MEASURING)
    bench.sleep_ms(1000)
    assert bench.read(reg.P_MEAN) == 0


def test_small_power_unit_is_the_raw_unit():
    """One small-power bit is 9e6 / (PL * MC) watts: 1.967 mW on the reference hardware."""
    bench = Bench(Constant(5), Circuit(load=RESISTIVE, mains=Mains(220, 50)))
    bench.start(REFERENCE_METERING, REFERENCE_MEASURING)
    bench.write(reg.SMALL_P_MOD, reg.SMALL_POWER_KEY)
    bench.sleep_ms(1000)
    assert bench.read(reg.P_MEAN) == round(5 * 1_429_876 * 3200 / 9e6)


@pytest.mark.parametrize("sensors", [Sensors(voltage_error=-0.02), Sensors(current_error=-0.02)], ids=["Ugain", "IgainL"])
def test_gains_scale_as_the_application_note_corrects_them(sensors):
    """new gain = old gain * reference / measured brings the reading to the reference (AN 3.2.6)."""
    gains = list(REFERENCE_MEASURING)
    corrected = 0 if sensors.voltage_error else 1
    gains[corrected] = round(gains[corrected] / 0.98)
    bench = Bench(Constant(1100), Circuit(sensors, RESISTIVE, Mains(220, 50)))
    bench.start(REFERENCE_METERING, gains)
    bench.sleep_ms(1000)
    assert bench.read(reg.U_RMS) == pytest.approx(22000, abs=1)
    assert bench.read(reg.I_RMS) == pytest.approx(5000, abs=1)


def test_mmode_gain_codes():
    """AN's 7C22H and the vendor's 7422H are the same setting; the reset value has gain 1."""
    assert [line_gain(mmode) for mmode in (0x7C22, 0x7422, 0x9422, 0x0022, 0x2022, 0x4022)] == [24, 24, 1, 4, 8, 16]
    assert [neutral_gain(mmode) for mmode in (0x7C22, 0x7422, 0x9422, 0x6022, 0x6822)] == [1, 1, 1, 2, 4]


@given(st.integers(-0x8000, 0x7FFF))
def test_complement_round_trip(value):
    assert from_complement(to_complement(value)) == value


@given(st.integers(-0x7FFF, 0x7FFF))
def test_signed_round_trip(value):
    assert from_signed(to_signed(value)) == value


@given(st.floats(-32767, 32767))
def test_low_bits_always_count_upwards(value):
    main, low = extend(value)
    assert low & 0xFF == 0
    assert from_complement(main) + low / 65536 == pytest.approx(value, abs=1 / 512)
