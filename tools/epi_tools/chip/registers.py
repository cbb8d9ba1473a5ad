"""ATM90E26 register map: addresses, access kinds and reset values (datasheet 46002B, chapter 5 and table 10)."""

from typing import Final

SOFT_RESET: Final = 0x00
SYS_STATUS: Final = 0x01
FUNC_EN: Final = 0x02
SAG_TH: Final = 0x03
SMALL_P_MOD: Final = 0x04
LAST_DATA: Final = 0x06
LSB: Final = 0x08

CAL_START: Final = 0x20
PL_CONST_H: Final = 0x21
PL_CONST_L: Final = 0x22
L_GAIN: Final = 0x23
L_PHI: Final = 0x24
N_GAIN: Final = 0x25
N_PHI: Final = 0x26
P_START_TH: Final = 0x27
P_NOL_TH: Final = 0x28
Q_START_TH: Final = 0x29
Q_NOL_TH: Final = 0x2A
M_MODE: Final = 0x2B
CS1: Final = 0x2C

ADJ_START: Final = 0x30
U_GAIN: Final = 0x31
I_GAIN_L: Final = 0x32
I_GAIN_N: Final = 0x33
U_OFFSET: Final = 0x34
I_OFFSET_L: Final = 0x35
I_OFFSET_N: Final = 0x36
P_OFFSET_L: Final = 0x37
Q_OFFSET_L: Final = 0x38
P_OFFSET_N: Final = 0x39
Q_OFFSET_N: Final = 0x3A
CS2: Final = 0x3B

AP_ENERGY: Final = 0x40
AN_ENERGY: Final = 0x41
AT_ENERGY: Final = 0x42
RP_ENERGY: Final = 0x43
RN_ENERGY: Final = 0x44
RT_ENERGY: Final = 0x45
EN_STATUS: Final = 0x46

I_RMS: Final = 0x48
U_RMS: Final = 0x49
P_MEAN: Final = 0x4A
Q_MEAN: Final = 0x4B
FREQ: Final = 0x4C
POWER_F: Final = 0x4D
P_ANGLE: Final = 0x4E
S_MEAN: Final = 0x4F
I_RMS_N: Final = 0x68
P_MEAN_N: Final = 0x6A
Q_MEAN_N: Final = 0x6B
POWER_F_N: Final = 0x6D
P_ANGLE_N: Final = 0x6E
S_MEAN_N: Final = 0x6F

ENERGY: Final = range(AP_ENERGY, RT_ENERGY + 1)
MEASUREMENT: Final = (*range(I_RMS, S_MEAN + 1), I_RMS_N, P_MEAN_N, Q_MEAN_N, POWER_F_N, P_ANGLE_N, S_MEAN_N)
READ_CLEAR: Final = frozenset({SYS_STATUS, *ENERGY})

SOFT_RESET_KEY: Final = 0x789A
SMALL_POWER_KEY: Final = 0xA987

# Start codes of both calibration blocks (CalStart and AdjStart).
POWER_ON: Final = 0x6886
SETTING: Final = 0x5678
CHECKED: Final = 0x8765

WRITABLE: Final = frozenset({FUNC_EN, SAG_TH, SMALL_P_MOD, *range(CAL_START, CS1 + 1), *range(ADJ_START, CS2 + 1)})

RESET_VALUES: Final[dict[int, int]] = {
    FUNC_EN: 0x000C,
    SAG_TH: 0x1D6A,
    CAL_START: POWER_ON,
    PL_CONST_H: 0x0015,
    PL_CONST_L: 0xD174,
    P_START_TH: 0x08BD,
    Q_START_TH: 0x0AEC,
    M_MODE: 0x9422,
    ADJ_START: POWER_ON,
    U_GAIN: 0x6720,
    I_GAIN_L: 0x7A13,
    I_GAIN_N: 0x7530,
}

# SysStatus bits.
CAL_ERR: Final = 0xC000
ADJ_ERR: Final = 0x3000
LN_CHANGE: Final = 0x0080
REV_Q_CHANGE: Final = 0x0040
REV_P_CHANGE: Final = 0x0020
SAG_WARN: Final = 0x0002

# FuncEn bits.
SAG_EN: Final = 0x0020
SAG_WO: Final = 0x0010
REV_Q_EN: Final = 0x0008
REV_P_EN: Final = 0x0004
