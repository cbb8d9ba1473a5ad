"""Register blocks against the datasheet's reset values and the application note's worked examples."""

from expect import raises

from epi_firmware import blocks, config
from epi_firmware import registers as reg

REFERENCE = {"current_uv_per_a": 200, "voltage_uv_per_v": 1136}  # 1 mV at 5 A, 250 mV at 220 V

# Blocks and checksums found in drivers and in the application note; facts recomputed independently.
CS1 = (
    ((0x0015, 0xD174, 0, 0, 0, 0, 0x08BD, 0, 0x0AEC, 0, 0x9422), 0x55CB),
    ((0x00B9, 0xC1F3, 0x1D39, 0, 0, 0, 0x08BD, 0, 0x0AEC, 0, 0x9422), 0x4A34),
    ((0x0010, 0x0000, 0x050E, 0, 0, 0, 0x08BD, 0, 0x0AEC, 0, 0x7422), 0x1E74),
    ((0x0015, 0xD174, 0x1475, 0x0024, 0, 0, 0x08BD, 0, 0x0AEC, 0, 0x7C22), 0xF860),
)
CS2 = (
    ((0x6720, 0x7A13, 0x7530, 0, 0, 0, 0, 0, 0, 0), 0x6BB9),
    ((0xD464, 0x6E49, 0x7530, 0, 0, 0, 0, 0, 0, 0), 0xD294),
    ((0x67D6, 0x55F8, 0x3FF8, 0, 0, 0, 0, 0, 0, 0), 0xDBC1),
    ((0x5C3B, 0x5AA7, 0x7530, 0, 0, 0, 0x0035, 0, 0, 0), 0xEA72),
)


def settings(**changes):
    channel = config.defaults()["channels"][0]
    channel.update(changes)
    return channel


def test_checksums_of_the_metering_block():
    for words, expected in CS1:
        assert blocks.checksum(words) == expected, hex(expected)
    assert blocks.checksum(reg.METERING_RESET) == 0x55CB


def test_checksums_of_the_measurement_block():
    for words, expected in CS2:
        assert blocks.checksum(words) == expected, hex(expected)
    assert blocks.checksum(reg.MEASUREMENT_RESET) == 0x6BB9


def test_pl_constant_of_the_application_note():
    # 1136 uV/V for 250 mV / 220 V is 0.03 % short, and so is PLconst.
    assert abs(blocks.pl_constant(settings(mc_imp_per_kwh=3200, **REFERENCE)) - 0x15D174) < 0x15D174 * 4e-4


def test_reset_values_are_the_reference_hardware():
    channel = settings(mc_imp_per_kwh=3200, power_scale=1, start_mw=4400, **REFERENCE)
    assert abs(blocks.threshold(channel, 4400) - 0x08BD) <= 1
    assert abs(blocks.threshold(channel, 5500) - 0x0AEC) <= 1
    assert abs(blocks.u_gain(channel) - 0x6720) <= 8
    assert blocks.i_gain(channel) == 0x7A13


def test_default_blocks_fit_their_registers():
    channel = settings()
    metering, measurement = blocks.metering_block(channel), blocks.measurement_block(channel)
    assert len(metering) == reg.M_MODE - reg.PL_CONST_H + 1
    assert len(measurement) == reg.Q_OFFSET_N - reg.U_GAIN + 1
    assert all(0 <= word <= 0xFFFF for word in metering + measurement)
    assert metering[0] << 16 | metering[1] == 483184
    assert metering[-1] == 0x7422  # gain 24, as in the vendor's own example
    assert measurement[0] <= 0x7FFF


def test_an_idle_pi_is_above_the_start_threshold():
    channel = settings()
    raw_unit_w = 9e6 / (blocks.pl_constant(channel) * channel["mc_imp_per_kwh"])
    start, no_load = blocks.metering_block(channel)[6:8]
    assert abs(start * raw_unit_w - 0.2) < 0.0002
    assert abs(no_load * raw_unit_w - 0.1) < 0.0002


def test_calibrated_gains_win_over_computed_ones():
    channel = settings(u_gain=12345, i_gain=23456, l_gain=0x1475, l_phi=0x24, p_offset=0x35)
    assert blocks.measurement_block(channel)[:2] == (12345, 23456)
    assert blocks.measurement_block(channel)[6] == 0x35
    assert blocks.metering_block(channel)[2:4] == (0x1475, 0x24)


def test_sag_threshold_of_the_reset_value():
    # 220 V reference: 100 * 220 * 1.4142 * 0.78 / (4 * 26400 / 32768) = 7530 = 1D6AH; ours is for 230 V.
    assert abs(blocks.sag_threshold(settings(u_gain=26400)) * 220 / 230 - reg.SAG_TH_RESET) < 2


def test_power_scale_divides_what_the_current_register_can_hold():
    assert blocks.i_gain(settings(power_scale=32)) == 2 * blocks.i_gain(settings(power_scale=16)) - 0 or (
        abs(blocks.i_gain(settings(power_scale=32)) - 2 * blocks.i_gain(settings(power_scale=16))) <= 1
    )


def test_rounding_is_to_the_nearest():
    assert [blocks.rounded(n, 4) for n in (0, 1, 2, 3, 4, 5, 6)] == [0, 0, 1, 1, 1, 1, 2]


def test_ticks_per_second_are_never_too_few():
    assert blocks.ticks_per_s(settings(), 30) == 84
    assert blocks.ticks_per_s(settings(), 360) == 1001
    assert blocks.ticks_per_s_x256(settings()) == 45
    raises(KeyError, blocks.pl_constant, {})
