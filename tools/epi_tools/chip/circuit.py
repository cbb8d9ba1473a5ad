"""What surrounds a chip: mains, load, sensors, and how far the silicon is from ideal. All values are frozen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

REFERENCE_C: Final = 25.0


class PowerSource(Protocol):
    """Watts over time."""

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[tuple[int, float]]:
        """Constant pieces (end_ns, watts), contiguous from `start_ns`, the last ending at `end_ns`.

        A live source that does not know its power up to `end_ns` yet stops earlier; nothing is ever made up.
        """


@dataclass(frozen=True)
class Mains:
    """The supply's voltage (rms) and frequency."""

    volts: float = 230.0
    hz: float = 50.0


@dataclass(frozen=True)
class Load:
    """Shape of the current a load draws.

    displacement_deg: angle by which the fundamental current lags the voltage; negative for a capacitive supply.
    distortion: fundamental over rms current, 1 for a sine; a small supply without PFC is near 0.6.
    The power factor is cos(displacement) * distortion.
    """

    displacement_deg: float = -15.0
    distortion: float = 0.6

    def __post_init__(self) -> None:
        if not -90 < self.displacement_deg < 90:
            raise ValueError(f"The displacement must lie between -90 and 90 degrees, not at {self.displacement_deg:g}.")
        if not 0 < self.distortion <= 1:
            raise ValueError(f"The distortion must lie above 0 and not above 1, so not at {self.distortion:g}.")

    @property
    def displacement_rad(self) -> float:
        return math.radians(self.displacement_deg)

    @property
    def power_factor(self) -> float:
        return math.cos(self.displacement_rad) * self.distortion


@dataclass(frozen=True)
class Sensors:
    """Analogue front end. The defaults are the application note's reference: 1 mV at 5 A and 250 mV at 220 V.

    current_phase_deg: lag a current transformer adds. reversed_ct: the transformer sits the wrong way round.
    neutral_share: part of the current that also passes the N sensor (0: nothing connected there).
    current_error, voltage_error: relative errors of the sensors, which a calibration has to find.
    """

    current_mv_per_a: float = 1.0 / 5.0
    voltage_mv_per_v: float = 250.0 / 220.0
    current_phase_deg: float = 0.0
    reversed_ct: bool = False
    neutral_share: float = 0.0
    current_error: float = 0.0
    voltage_error: float = 0.0


@dataclass(frozen=True)
class Imperfections:
    """How one chip differs from an ideal one.

    crystal_ppm: its clock runs fast by this. reference_ppm_per_c: drift of the voltage reference, seen by both
    converters. metering_error: relative error of the energy chain alone. noise_*: standard deviation of one refresh
    of the measurement registers; the energy chain integrates noise away.
    """

    crystal_ppm: float = 0.0
    reference_ppm_per_c: float = 0.0
    metering_error: float = 0.0
    noise_w: float = 0.0
    noise_v: float = 0.0
    noise_a: float = 0.0

    @classmethod
    def typical(cls, rng: Random) -> "Imperfections":
        """One chip out of a calibrated batch, inside the datasheet's class (0.1 % of reading, 100 ppm, 15 ppm/°C)."""
        return cls(
            crystal_ppm=rng.uniform(-50, 50),
            reference_ppm_per_c=rng.gauss(0, 15),
            metering_error=max(-1e-3, min(1e-3, rng.gauss(0, 3e-4))),
            noise_w=0.01,
            noise_v=0.02,
            noise_a=2e-4,
        )


@dataclass(frozen=True)
class Circuit:
    """All that a chip is soldered into."""

    sensors: Sensors = Sensors()
    load: Load = Load()
    mains: Mains = Mains()
    flaws: Imperfections = Imperfections()
    temperature_c: float = REFERENCE_C

    @property
    def reference_factor(self) -> float:
        """What the drift of the voltage reference does to each converter."""
        return 1 / (1 + self.flaws.reference_ppm_per_c * 1e-6 * (self.temperature_c - REFERENCE_C))

    @property
    def clock_speed(self) -> float:
        """Chip seconds per true second."""
        return 1 + self.flaws.crystal_ppm * 1e-6

    @property
    def voltage_mv(self) -> float:
        """Rms voltage at the voltage pin, as the converter sees it."""
        sensors = self.sensors
        return self.mains.volts * sensors.voltage_mv_per_v * (1 + sensors.voltage_error) * self.reference_factor


@dataclass(frozen=True)
class ChipTiming:
    """Times the datasheet leaves open (bench measurements pending) or gives (power-on); nanoseconds."""

    refresh_ns: int = 40_000_000  # unknown: period at which the measurement registers change
    window_ns: int = 320_000_000  # unknown: length of the boxcar they average over
    checksum_ns: int = 20_000_000  # unknown: "regularly" recomputed
    reset_ns: int = 5_000_000  # datasheet: delay after power-on; assumed for a soft reset too
    sclk_timeout_ns: int = 6_000_000  # datasheet 4.1.3


# Four turns through a 1000:1 transformer into 6 ohm, and 1 mV per volt: full scale 1 A at gain 24, made for a single Pi.
PI_SENSORS: Final = Sensors(current_mv_per_a=24.0, voltage_mv_per_v=1.0)
REFERENCE_CIRCUIT: Final = Circuit()
ASSUMED_TIMING: Final = ChipTiming()
