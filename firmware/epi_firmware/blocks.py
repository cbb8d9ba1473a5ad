"""From a channel's settings to the register blocks of its chip, and the checksums that guard them.

All formulas are integers, for a board whose floats have 24 bits. Reference hardware of application note Atmel-46102B:
amplification 24, 1 mV at 5 A, 250 mV at 220 V, on which the reset values of all registers read right.
"""

from . import registers as reg

_PL_FACTOR = 838860800  # application note 3.2.1, for VL and VU in mV
_UGAIN_AT_1UV_PER_V = 30_000_000  # 26400 * (250000 uV / 220 V)
_IGAIN_AT_1UV_PER_A = 6_250_200  # 31251 * (1000 uV / 5 A)
_TICK_KWH_TO_J = 360_000  # a tick is 0.1 pulse, a pulse 1 kWh / MC


def checksum(words):
    """Checksum of a block: low byte the sum of all bytes modulo 256, high byte their exclusive or (application note 2.3.3)."""
    total = mixed = 0
    for word in words:
        total += (word >> 8) + (word & 0xFF)
        mixed ^= (word >> 8) ^ (word & 0xFF)
    return mixed << 8 | total & 0xFF


def rounded(numerator, denominator):
    """`numerator / denominator` to the nearest integer, halves up; both positive."""
    return (2 * numerator + denominator) // (2 * denominator)


def pl_constant(settings):
    """PLconst: 838860800 * gain * VL * VU / (MC * Un * Ib), which needs only the two sensitivities."""
    sensors = settings["current_gain"] * settings["current_uv_per_a"] * settings["voltage_uv_per_v"]
    return rounded(_PL_FACTOR * sensors, settings["mc_imp_per_kwh"] * 1_000_000)


def threshold(settings, milliwatts):
    """Start-up or no-load threshold for `milliwatts`, in the chip's raw unit of 9e6 / (PL * MC) watts."""
    return rounded(milliwatts * pl_constant(settings) * settings["mc_imp_per_kwh"], 9_000_000_000)


def u_gain(settings):
    """Ugain for Urms in 0.01 V, unless calibration has found a better one."""
    return settings["u_gain"] or rounded(_UGAIN_AT_1UV_PER_V, settings["voltage_uv_per_v"])


def i_gain(settings):
    """IgainL for Irms in 1 mA / power_scale, unless calibration has found a better one."""
    scaled = _IGAIN_AT_1UV_PER_A * settings["power_scale"] * 24
    return settings["i_gain"] or rounded(scaled, settings["current_uv_per_a"] * settings["current_gain"])


def metering_block(settings):
    """Registers 21H-2BH: what energy is made of."""
    pl = pl_constant(settings)
    start = threshold(settings, settings["start_mw"])
    no_load = threshold(settings, settings["start_mw"] // 2)
    mode = reg.M_MODE_BASE | reg.L_GAIN_CODES[settings["current_gain"]]
    gain, phase = settings["l_gain"], settings["l_phi"]
    return (pl >> 16, pl & 0xFFFF, gain, phase, 0, 0, start, no_load, start, no_load, mode)


def measurement_block(settings):
    """Registers 31H-3AH: what the RMS values and mean powers are made of."""
    u_offset, i_offset = settings["u_offset"], settings["i_offset"]
    p_offset, q_offset = settings["p_offset"], settings["q_offset"]
    return (u_gain(settings), i_gain(settings), 0x7530, u_offset, i_offset, 0, p_offset, q_offset, 0, 0)


def sag_threshold(settings):
    """SagTh for 78 % of 230 V: 100 * Un * sqrt(2) * 0.78 / (4 * Ugain / 32768)."""
    return rounded(23_000 * 14142 * 78 * 32768, 1_000_000 * 4 * u_gain(settings))


def ticks_per_s(settings, watts):
    """Energy ticks per second at `watts`, rounded up."""
    return watts * settings["mc_imp_per_kwh"] // _TICK_KWH_TO_J + 1


def ticks_per_s_x256(settings):
    """256 times the energy ticks per second for one unit of the P register."""
    return 256 * settings["mc_imp_per_kwh"] // (_TICK_KWH_TO_J * settings["power_scale"]) + 1
