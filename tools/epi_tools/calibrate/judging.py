"""Whether the second measurement confirms what was stored."""

from __future__ import annotations

from epi_tools.calibrate.checks import NOTHING, check_quiet
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.plan import Plan
from epi_tools.calibrate.solve import Measured

POWER_TOLERANCE = 0.005
"""The mean power is good to 0.5 % of full scale (datasheet table 7); the host warns where it leaves the energy by more."""


def check_confirmed(plan: Plan, first: Measured, second: Measured) -> None:
    """CalibrationError where a residual is beyond its tolerance."""
    if first.open_circuit and second.open_circuit:
        check_quiet(plan.channel, first.open_circuit, second.open_circuit)
    left = second.errors
    if abs(left.gain) > plan.tolerance:
        raise CalibrationError(
            f"The second measurement is off by {left.gain:+.3%}, and the tolerance is {plan.tolerance:.2%}; {NOTHING}."
        )
    if abs(left.lag_deg) > plan.phase_tolerance_deg:
        raise CalibrationError(
            f"The second measurement lags by {left.lag_deg:+.3f} degrees, and the tolerance is {plan.phase_tolerance_deg:g}; "
            f"{NOTHING}."
        )
    if second.unity and abs(second.unity.power_error) > POWER_TOLERANCE:
        raise CalibrationError(
            f"The mean power of the second measurement is off by {second.unity.power_error:+.2%}, and may be off by "
            f"{POWER_TOLERANCE:.1%}; {NOTHING}."
        )
