"""The application note's procedure, one channel at a time: measure, compute, store, and measure again.

Nothing is stored before all measurements are in and sensible. What was stored and does not prove itself is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from epi_tools.board import BoardError
from epi_tools.calibrate.averages import Averages, seconds_for
from epi_tools.calibrate.bench import Bench, check_read_back
from epi_tools.calibrate.checks import (
    NOTHING,
    check_certain,
    check_load,
    check_open,
    check_power_factor,
    check_threshold,
)
from epi_tools.calibrate.config_file import RECORD, BoardConfig, ChannelConfig, with_channel
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.judging import check_confirmed
from epi_tools.calibrate.measuring import average_of, collect
from epi_tools.calibrate.outcome import Outcome, seen_at
from epi_tools.calibrate.person import Person
from epi_tools.calibrate.plan import GAIN, OFFSETS, PHASE, STEPS, THRESHOLDS, TURNS, Plan
from epi_tools.calibrate.record import new_record
from epi_tools.calibrate.reference import Reference
from epi_tools.calibrate.registers import Registers
from epi_tools.calibrate.solve import Errors, Load, Measured, Scales, with_gain, with_offsets, with_phase

LEAST_S, MOST_S, OPEN_S = 20.0, 600.0, 20.0


class Procedure:
    """One calibration of one channel of `bench`, with `person` changing the loads."""

    def __init__(self, bench: Bench, person: Person, plan: Plan, instrument: str = "") -> None:
        self._bench, self._person, self._plan, self._instrument = bench, person, plan, instrument
        channels = bench.description.get("channels", [])
        if not 0 <= plan.channel < len(channels):
            raise CalibrationError(f"The board has channels 0 to {len(channels) - 1}, and not {plan.channel}; {NOTHING}.")
        self._name = str(channels[plan.channel]["name"])
        self._steps = plan.steps

    def run(self) -> Outcome:
        """Go through the plan's steps. Raises CalibrationError or BoardError; the board then runs with what it had before."""
        self._steps = tuple(step for step in self._plan.steps if self._person.can(step))
        original = self._bench.config()
        self._check_gain_known(original)
        if not self._changes_sensor(original):
            return self._calibrate(original, original)
        if self._plan.dry_run:
            raise CalibrationError(f"Other turns have to be stored before they can be measured: leave --dry-run out; {NOTHING}.")
        text = with_channel(original.text, self._plan.channel, len(original.channels), self._sensor_settings())
        return self._guarded(original, lambda: self._calibrate(original, self._bench.store(text)))

    def _calibrate(self, original: BoardConfig, config: BoardConfig) -> Outcome:
        plan, old = self._plan, config.channels[self._plan.channel]
        measured = self._measure(again=False)
        registers = self._new_registers(old, measured)
        record = new_record(old.record, measured.errors, plan)
        text = with_channel(config.text, plan.channel, len(config.channels), self._settings(old, registers, record))
        if plan.dry_run or not self._person.agrees(_question(measured.errors)):
            if config is not original:
                self._put_back(original)
            return self._outcome(config, config, measured, None, "", old.record)
        return self._guarded(original, lambda: self._store(config, measured, text))

    def _store(self, config: BoardConfig, measured: Measured, text: str) -> Outcome:
        stored = self._bench.store(text)
        mine = stored.channels[self._plan.channel]
        collect(self._bench, self._plan.channel, 0.0, lambda _: None, lambda _: None)  # until the chip has settled
        checksums = check_read_back(self._name, mine, self._bench.logs)
        verified = self._measure(again=True)
        check_confirmed(self._plan, measured, verified)
        return self._outcome(config, stored, measured, verified, checksums, mine.record)

    def _guarded(self, original: BoardConfig, work: Callable[[], Outcome]) -> Outcome:
        """Do `work`, which stores things; where it fails, put the original configuration back."""
        try:
            return work()
        except (CalibrationError, BoardError, KeyboardInterrupt) as error:
            said = str(error).removesuffix(".").removesuffix(f"; {NOTHING}") or "Stopped"
            try:
                self._put_back(original)
            except (CalibrationError, BoardError) as second:
                raise CalibrationError(f"{said}; and the board's old settings could not be put back: {second}") from error
            raise CalibrationError(f"{said}; the board's old settings were put back.") from error

    def _put_back(self, original: BoardConfig) -> None:
        self._bench.store(original.text or "{}\n", checked=False)

    # --- measuring --------------------------------------------------------------------------------------------------

    def _measure(self, again: bool) -> Measured:
        """All loads of the plan; when verifying, in reverse, because the last is still there.

        Offsets prove themselves with the loads; alone, by a second look at the open circuit.
        """
        found: dict[str, Any] = {}
        loads = [step for step in (OFFSETS, GAIN, PHASE) if step in self._steps]
        for step in reversed(loads) if again else loads:
            if step == OFFSETS and (not again or len(loads) == 1):
                self._person.prepare(step, again)
                found["open_circuit"] = self._measure_open()
            elif step != OFFSETS:
                found["unity" if step == GAIN else "lagging"] = self._measure_load(step, again)
        return Measured(**found)

    def _measure_open(self) -> Averages:
        channel = self._plan.channel
        seconds = self._plan.seconds or OPEN_S
        sweeps = collect(self._bench, channel, seconds, lambda _: None, self._progress("open circuit", seconds))
        seen = average_of(sweeps, channel, self._scales.tick_j)
        check_open(channel, seen, [sweep.channels[channel] for sweep in sweeps])
        return seen

    def _measure_load(self, step: str, again: bool) -> Load:
        plan, channel, tick_j = self._plan, self._plan.channel, self._scales.tick_j
        reference = self._person.prepare(step, again)
        assert reference is not None
        for remark in reference.remarks:
            self._person.say(remark)
        seconds = plan.seconds or min(MOST_S, max(LEAST_S, seconds_for(reference.w, tick_j, plan.tolerance)))
        label = f"{'verify ' if again else ''}{'gain, PF 1' if step == GAIN else f'phase, PF {reference.pf:g}'}"
        sweeps = collect(self._bench, channel, seconds, self._right_load(reference), self._progress(label, seconds))
        seen = average_of(sweeps, channel, tick_j)
        check_power_factor(seen, reference, step == GAIN)
        check_certain(seen, plan.tolerance, tick_j)
        return Load(reference, seen)

    def _right_load(self, reference: Reference) -> Callable[[Any], None]:
        return lambda powers_w: check_load(self._plan.channel, powers_w, reference)

    def _progress(self, label: str, total_s: float) -> Callable[[float], None]:
        return lambda done_s: self._person.progress(label, done_s, total_s)

    @property
    def _scales(self) -> Scales:
        described = self._bench.description["channels"][self._plan.channel]
        p_w, q_var, u_v, i_a = (float(described[name]) for name in ("p_w", "q_var", "u_v", "i_a"))
        return Scales(p_w, q_var, u_v, i_a, float(described["energy_j_per_tick"]))

    # --- computing --------------------------------------------------------------------------------------------------

    def _new_registers(self, config: ChannelConfig, measured: Measured) -> Registers:
        old, found = config.registers, measured.errors
        new, start_mw = old, self._plan.start_mw or int(config.settings["start_mw"])
        if measured.open_circuit:
            if THRESHOLDS in self._steps:
                check_threshold(self._plan.channel, measured.open_circuit, start_mw / 1000)
            new = with_offsets(new, measured.open_circuit, self._scales)
        if measured.unity:
            new = with_gain(old, new, measured.unity, found, self._scales)
        if measured.lagging:
            new = with_phase(old, new, found, measured.lagging.seen.line_hz)
        return new

    def _settings(self, old: ChannelConfig, registers: Registers, record: dict[str, Any] | None) -> dict[str, Any]:
        """Settings that differ from those in effect, the threshold, and the record."""
        changes: dict[str, Any] = registers.settings_since(old.registers)
        if THRESHOLDS in self._steps and self._plan.start_mw is not None:
            changes["start_mw"] = self._plan.start_mw
        return changes | {RECORD: record}

    def _sensor_settings(self) -> dict[str, Any]:
        """A new nominal sensitivity; what was calibrated with the old one no longer holds."""
        assert self._plan.sensor is not None
        stale = dict.fromkeys(("l_gain", "i_gain", "i_offset", "p_offset", "q_offset", RECORD))
        return stale | {"current_uv_per_a": self._plan.sensor.uv_per_a}

    def _check_gain_known(self, config: BoardConfig) -> None:
        """A lone lagging load cannot tell a gain from a lag: the gain has to be right already."""
        record = config.channels[self._plan.channel].record or {}
        if PHASE in self._steps and GAIN not in self._steps and "gain_ppm" not in record:
            raise CalibrationError(
                f"The phase of channel {self._plan.channel} can only be found once its gain is right: calibrate the gain first, "
                f"or both in one session; {NOTHING}."
            )

    def _changes_sensor(self, config: BoardConfig) -> bool:
        sensor = self._plan.sensor
        old = config.channels[self._plan.channel].settings["current_uv_per_a"]
        return TURNS in self._steps and sensor is not None and sensor.uv_per_a != old

    def _outcome(
        self,
        before: BoardConfig,
        after: BoardConfig,
        measured: Measured,
        verified: Measured | None,
        checksums: str,
        record: dict[str, Any] | None,
    ) -> Outcome:
        plan, old, new = self._plan, before.channels[self._plan.channel], after.channels[self._plan.channel]
        registers = new.registers if verified else self._new_registers(old, measured)
        loads = [load for load in (measured.unity, measured.lagging) if load]
        return Outcome(
            board_id=str(self._bench.description.get("board_id", "")),
            simulated=bool(self._bench.description.get("simulated", False)),
            channel=plan.channel,
            name=self._name,
            utc=plan.utc,
            instrument=self._instrument,
            steps=self._steps,
            not_done=tuple(step for step in STEPS if step not in self._steps),
            stored=verified is not None,
            checksums=checksums,
            found=measured.errors,
            residual=verified.errors if verified else None,
            before=seen_at(measured.unity, measured.errors),
            after=seen_at(verified.unity, verified.errors) if verified else None,
            old_registers=old.registers,
            new_registers=registers,
            start_mw=int(new.settings["start_mw"]),
            old_record=old.record,
            record=record,
            reference_known=all(load.reference.maker_known for load in loads),
        )


def _question(found: Errors) -> str:
    parts = []
    if not math.isnan(found.gain):
        parts.append(f"the energy reads {found.gain:+.3%} ± {2 * found.gain_within:.3%}")
    if not math.isnan(found.lag_deg):
        parts.append(f"the current lags by {found.lag_deg:+.2f} ± {2 * found.lag_within_deg:.2f} degrees too much")
    return f"Found: {', '.join(parts) or 'offsets only'}. Store the correction on the board?"
