"""ATM90E26 registers, as the datasheet names them (Atmel-46002B, 2014, table 10).

R/C: reading clears. TC: two's complement. SM: sign bit and magnitude.
"""

try:
    from micropython import const
except ImportError:  # CPython has no constants to fold

    def const(value):
        return value


READ = const(0x80)

# Status and special
SOFT_RESET = const(0x00)  # write RESET_CODE: every register back to its reset value
SYS_STATUS = const(0x01)  # R/C
FUNC_EN = const(0x02)
SAG_TH = const(0x03)
SMALL_P_MOD = const(0x04)
LAST_DATA = const(0x06)  # data of the last complete read or accepted write
LSB = const(0x08)  # low 16 bits of the RMS or mean power read just before; bits 7:0 are always 0

# Metering configuration, guarded by CS1
CAL_START = const(0x20)
PL_CONST_H = const(0x21)
PL_CONST_L = const(0x22)
L_GAIN = const(0x23)  # TC, times 1 + v/2**15
L_PHI = const(0x24)  # SM, bits 9:0
N_GAIN = const(0x25)
N_PHI = const(0x26)
P_START_TH = const(0x27)
P_NO_LOAD_TH = const(0x28)
Q_START_TH = const(0x29)
Q_NO_LOAD_TH = const(0x2A)
M_MODE = const(0x2B)
CS1 = const(0x2C)  # write: checksum of 21H-2BH; read: the chip's own calculation of it

# Measurement calibration, guarded by CS2
ADJ_START = const(0x30)
U_GAIN = const(0x31)  # bit 15 must be 0
I_GAIN_L = const(0x32)
I_GAIN_N = const(0x33)
U_OFFSET = const(0x34)  # TC, as are all offsets
I_OFFSET_L = const(0x35)
I_OFFSET_N = const(0x36)
P_OFFSET_L = const(0x37)
Q_OFFSET_L = const(0x38)
P_OFFSET_N = const(0x39)
Q_OFFSET_N = const(0x3A)
CS2 = const(0x3B)

# Energy, R/C, in ticks of 0.1 pulse, wrapping from FFFFH to 0
AP_ENERGY = const(0x40)  # forward active
AN_ENERGY = const(0x41)  # reverse active
AT_ENERGY = const(0x42)  # absolute active
RP_ENERGY = const(0x43)  # inductive
RN_ENERGY = const(0x44)  # capacitive
RT_ENERGY = const(0x45)  # absolute reactive
EN_STATUS = const(0x46)

# Measurement of the L channel
I_RMS = const(0x48)
U_RMS = const(0x49)  # 0.01 V
P_MEAN = const(0x4A)  # TC
Q_MEAN = const(0x4B)  # TC
FREQ = const(0x4C)  # 0.01 Hz
POWER_F = const(0x4D)  # SM, 0.001
P_ANGLE = const(0x4E)  # SM, 0.1 degree
S_MEAN = const(0x4F)  # bit 15 is 0

RESET_CODE = const(0x789A)
CODE_POWER_ON = const(0x6886)  # CalStart and AdjStart after any reset: nothing runs
CODE_CONFIGURE = const(0x5678)  # the block goes back to reset values and runs unchecked
CODE_CHECK = const(0x8765)  # the block is checked against its checksum and runs if that is right

FUNC_EN_RESET = const(0x000C)
SAG_TH_RESET = const(0x1D6A)
EN_STATUS_RESET = const(0xC800)

CAL_ERR = const(0xC000)  # SysStatus: CS1 does not match
ADJ_ERR = const(0x3000)  # SysStatus: CS2 does not match
P_NO_LOAD = const(0x4000)  # EnStatus: active energy stands still
REV_P = const(0x1000)  # EnStatus: the last active pulse was a reverse one
STRAPS = const(0x0003)  # EnStatus: pins MMD1:MMD0
STRAPS_L_FIXED = const(0x0001)

STRAP_MODES = ("anti-tamper", "L alone", "L and N added", "L or N by register")
"""What the pins MMD1:MMD0 have the chip meter (datasheet 3.6)."""

METERING_RESET = (0x0015, 0xD174, 0, 0, 0, 0, 0x08BD, 0, 0x0AEC, 0, 0x9422)
"""Reset values of 21H-2BH; their checksum is 55CBH."""

MEASUREMENT_RESET = (0x6720, 0x7A13, 0x7530, 0, 0, 0, 0, 0, 0, 0)
"""Reset values of 31H-3AH; their checksum is 6BB9H."""

L_GAIN_CODES = {1: 0x8000, 4: 0x0000, 8: 0x2000, 16: 0x4000, 24: 0x6000}
"""Amplification of the current input to bits 15:13 of MMode."""

M_MODE_BASE = const(0x1422)  # N gain 1, L selected, high-pass on, zero crossing on both edges, Pthresh 3.125 %
