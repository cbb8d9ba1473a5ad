"""The lag beside a run: `NAME.lag.json`, written by `epid lag --save`. The run file itself stays as it was recorded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RunFileError
from ..timeline.run import Run
from ..timeline.timeline import MeterTrack

FORMAT, VERSION = "epid-lag", 1


@dataclass(frozen=True, slots=True)
class Lag:
    """A reading of P at `t` is the mean power over [t - delay_s - window_s, t - delay_s].

    `within_s`: half width of the 95 % interval of the middle of that window, `delay_s + window_s / 2`. `load_s`: how late the
    load itself follows the spans, which is part of `delay_s` and the only lag of the energy registers; NaN where unknown.
    """

    delay_s: float
    window_s: float
    within_s: float
    load_s: float = math.nan

    @property
    def centre_s(self) -> float:
        """Age of the middle of the averaging window when P is read."""
        return self.delay_s + self.window_s / 2


def lag_path(run_path: Path) -> Path:
    """Where the lag of a run is kept."""
    return run_path.with_suffix(".lag.json")


def stored_lag(run: Run, track: MeterTrack) -> Lag | None:
    """Return the lag kept beside a run for this channel, or None; RunFileError where the file there is no lag of this run."""
    path = lag_path(run.path)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT or found["version"] != VERSION:
            raise RunFileError(f"{path} is of format {found['format']} {found['version']}, understood is {FORMAT} {VERSION}")
        if found["run"] != run.metadata.get("run") or found["board_id"] != track.board_id:
            raise RunFileError(f"{path} is the lag of another run; remove it, or make it anew with `epid lag --save`")
        figures = found["channels"].get(str(track.channel))
        if figures is None:
            return None
        known = {name: float(figures[name]) for name in ("delay_s", "window_s", "within_s")}
        return Lag(**known, load_s=math.nan if figures["load_s"] is None else float(figures["load_s"]))
    except OSError as error:
        raise RunFileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFileError(f"{path} holds no lag; remove it, or make it anew with `epid lag --save`") from error


def store_lag(run: Run, track: MeterTrack, document: dict[str, Any]) -> Path:
    """Keep `document` (see `epid lag --json`) beside the run."""
    path = lag_path(run.path)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "run": run.metadata.get("run"),
        "board_id": track.board_id,
        "simulated": track.simulated,
        "channels": {str(track.channel): document},
    }
    unfinished = path.with_suffix(".part")
    try:
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise RunFileError(f"cannot write {path}: {error.strerror}") from error
    return path
