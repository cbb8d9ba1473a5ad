"""Correcting a run after the fact: raw counts were stored, so a gain that is known better now is put on at reading.

The file comes from `epi calibrate --export`. It holds, for channels of one board, the correction of readings that were made in a
certain state of the meter; a run says in its HELLO by the record `calibration` of each channel in which state it was made.

    {"format": "epi-calibration", "version": 1, "board_id": "e66…", "simulated": false, "channels": {"0": {"utc": "2026-11-22",
     "instrument": "…", "states": [{"calibration": null, "energy_correction": 0.9874, "power_correction": 0.9871,
                                    "within": 0.0005, "lag_deg": 0.8}]}}}

`within` is relative, two standard deviations. A lag of the current cannot be taken out of energies afterwards: what is left of
it is `lag * tan(phi)`, nothing at PF 1, and the run is marked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import RunFileError, UsageError
from ..timeline.run import BoardRecord
from ..timeline.timeline import MeterTrack, meter_track

FORMAT, VERSION = "epi-calibration", 1

LAG_MATTERS_DEG = 0.1

Record = Mapping[str, Any]

_IDENTITY = ("gain_ppm", "within_ppm", "phase_mdeg", "utc")


@dataclass(frozen=True, slots=True)
class Correction:
    """What readings of one channel in one state are multiplied by. `within` is relative; `lag_deg` NaN where unknown."""

    energy: float
    power: float
    within: float
    lag_deg: float
    utc: str

    def remarks(self) -> list[str]:
        """What a reader of the figures has to know."""
        lines = [
            f"energy × {self.energy:.5f} ± {self.within * self.energy:.5f} and power × {self.power:.5f}, "
            f"by the calibration of {self.utc}"
        ]
        if abs(self.lag_deg) > LAG_MATTERS_DEG:
            lines.append(
                f"the current of this meter channel lagged by {self.lag_deg:+.2f} degrees too much, which reading cannot mend: "
                f"energies are off by {math.radians(self.lag_deg):+.2%} times the tangent of the load's angle"
            )
        return lines


@dataclass(frozen=True, slots=True)
class Corrections:
    """The corrections in a file: (channel, state of the meter, correction), for one board."""

    path: Path
    board_id: str
    entries: tuple[tuple[int, Record | None, Correction], ...]

    def of(self, board: BoardRecord, channel: int) -> Correction | None:
        """The correction of a channel as it was in this run; None for a board or channel that the file does not name.

        Raises RunFileError where it names the channel, in another state only.
        """
        mine = [(state, found) for at, state, found in self.entries if board.board_id == self.board_id and at == channel]
        record = board.description["channels"][channel].get("calibration")
        for state, found in mine:
            if _same(state, record):
                return found
        if mine:
            raise RunFileError(
                f"{self.path} corrects channel {channel} of meter {self.board_id} as it was {_when(mine[0][0])}, and this run "
                f"was made with it {_when(record)}: calibrate again with --export, or leave --calibration out"
            )
        return None


def load_corrections(path: Path) -> Corrections:
    """Read a file of `epi calibrate --export`. Raises UsageError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise UsageError(
                f"{path} is of format {content['format']} {content['version']}, and {FORMAT} {VERSION} is understood"
            )
        entries = [
            (int(channel), state["calibration"], _correction(state, str(found["utc"])))
            for channel, found in content["channels"].items()
            for state in found["states"]
        ]
        return Corrections(path, str(content["board_id"]), tuple(entries))
    except OSError as error:
        raise UsageError(f"cannot read the calibration {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no calibration file; `epi calibrate --export {path.name}` makes one") from error


def calibrated_track(board: BoardRecord, channel: int, corrections: Corrections | None) -> tuple[MeterTrack, Correction | None]:
    """Return a channel on the timeline with its correction put on, and that correction."""
    track = meter_track(board, channel)
    correction = corrections.of(board, channel) if corrections else None
    return (track, None) if correction is None else (corrected(track, correction), correction)


def corrected(track: MeterTrack, correction: Correction) -> MeterTrack:
    """The track with other gains; counts, times and flags stay."""
    return replace(
        track,
        p_w=track.p_w * correction.power,
        energy_j=track.energy_j * correction.energy,
        quantum_j=track.quantum_j * correction.energy,
    )


def _correction(state: dict[str, Any], utc: str) -> Correction:
    lag_deg = math.nan if state.get("lag_deg") is None else float(state["lag_deg"])
    found = Correction(float(state["energy_correction"]), float(state["power_correction"]), float(state["within"]), lag_deg, utc)
    if not (0.1 < found.energy < 10 and 0.1 < found.power < 10 and 0 <= found.within < 1):
        raise ValueError("a correction out of all proportion")
    return found


def _same(state: Record | None, record: Record | None) -> bool:
    """Whether two records are of one calibration; a board may write its temperature in other digits."""
    if not state or not record:
        return not state and not record
    return all(state.get(key) == record.get(key) for key in _IDENTITY)


def _when(record: Record | None) -> str:
    return f"calibrated on {record.get('utc')}" if record else "before it was calibrated"
