"""A calibration as a person reads it: before and after, side by side."""

from __future__ import annotations

import math

from epi_tools.calibrate.outcome import Outcome, Seen
from epi_tools.calibrate.plan import Plan
from epi_tools.calibrate.registers import SETTINGS

_MISSING = "–"
_DATASHEET = {
    "l_gain": "Lgain",
    "l_phi": "Lphi",
    "u_gain": "Ugain",
    "i_gain": "IgainL",
    "u_offset": "Uoffset",
    "i_offset": "IoffsetL",
    "p_offset": "PoffsetL",
    "q_offset": "QoffsetL",
}


def as_text(outcome: Outcome, plan: Plan) -> str:
    """The table, and what it rests on, in lines for a terminal."""
    tag = " · simulated meter" if outcome.simulated else ""
    lines = [f"Calibration of channel {outcome.channel} ({outcome.name}){tag} · {outcome.utc}", ""]
    lines += _errors(outcome, plan)
    lines += ["", *_registers(outcome), ""]
    lines += _grounds(outcome)
    return "\n".join(lines)


def _errors(outcome: Outcome, plan: Plan) -> list[str]:
    before, after = outcome.before, outcome.after or Seen()
    rows = [("error of", "before", "after", "tolerance"), ("────────────", "────────", "────────", "─────────")]
    rows += [
        ("energy", _percent(before.energy), _percent(after.energy), f"{plan.tolerance:.2%}"),
        ("mean power", _percent(before.power), _percent(after.power), "0.50%"),
        ("voltage", _percent(before.voltage), _percent(after.voltage), ""),
        ("phase", _degrees(before.lag_deg), _degrees(after.lag_deg), f"{plan.phase_tolerance_deg:g}°"),
    ]
    return [f"{name:<12}  {old:>9}  {new:>9}  {limit:>9}".rstrip() for name, old, new, limit in rows]


def _registers(outcome: Outcome) -> list[str]:
    lines = []
    for name in SETTINGS:
        old, new = getattr(outcome.old_registers, name), getattr(outcome.new_registers, name)
        lines.append(f"{_DATASHEET[name]:<12}      {old:04X}H      {new:04X}H" + ("" if old == new else "  changed"))
    lines.append(f"start-up at   {outcome.start_mw / 1000:g} W (PStartTh {outcome.new_registers.p_start_th:04X}H)")
    return lines


def _grounds(outcome: Outcome) -> list[str]:
    lines = []
    if not math.isnan(outcome.found.gain):
        own = "" if outcome.reference_known else "; the reference's own accuracy is not in it"
        lines.append(f"Gain error found: {outcome.found.gain:+.3%} ± {2 * outcome.found.gain_within:.3%} (two sigma{own}).")
    if not math.isnan(outcome.found.lag_deg):
        lines.append(f"Excess lag found: {outcome.found.lag_deg:+.3f}° ± {2 * outcome.found.lag_within_deg:.3f}° (two sigma).")
    if outcome.not_done:
        lines.append(f"Not done: {', '.join(outcome.not_done)}.")
    if outcome.stored:
        lines.append(
            f"Stored on board {outcome.board_id}, and read back: checksums {outcome.checksums}, as the chip computes them."
        )
    else:
        lines.append("Nothing was stored on the board.")
    return lines


def _percent(value: float) -> str:
    return _MISSING if math.isnan(value) else f"{value:+.3%}"


def _degrees(value: float) -> str:
    return _MISSING if math.isnan(value) else f"{value:+.3f}°"
