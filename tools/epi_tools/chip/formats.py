"""How the ATM90E26 writes numbers: two's complement ("complement"), and sign with magnitude ("signed").

The datasheet's own example settles the second: a power factor of -1.000 reads 83E8H.
"""


def to_complement(value: int) -> int:
    """Signed integer to 16-bit two's complement; saturates at the ends."""
    return max(-0x8000, min(0x7FFF, value)) & 0xFFFF


def from_complement(word: int) -> int:
    """16-bit two's complement to a signed integer."""
    return word - 0x10000 if word & 0x8000 else word


def to_signed(value: int) -> int:
    """Signed integer to sign bit and 15-bit magnitude; saturates."""
    magnitude = min(abs(value), 0x7FFF)
    return magnitude | 0x8000 if value < 0 else magnitude


def from_signed(word: int, magnitude_bits: int = 15) -> int:
    """Sign bit (bit 15) and magnitude to a signed integer; Lphi and Nphi have 10 magnitude bits."""
    magnitude = word & ((1 << magnitude_bits) - 1)
    return -magnitude if word & 0x8000 else magnitude


def extend(value: float) -> tuple[int, int]:
    """A value in units of the main register as (main register, LSB register).

    Two's complement over 32 bits, of which only the top 8 bits of the LSB register live, so the resolution is 1/256;
    saturates at the main register's signed range.
    """
    steps = max(-0x80_0000, min(0x7F_FFFF, round(value * 256)))
    return (steps >> 8) & 0xFFFF, (steps & 0xFF) << 8


def extend_unsigned(value: float, ceiling: int = 0xFFFF) -> tuple[int, int]:
    """The same for a register without sign; saturates at 0 and at `ceiling` + 255/256."""
    steps = max(0, min((ceiling << 8) | 0xFF, round(value * 256)))
    return steps >> 8, (steps & 0xFF) << 8
