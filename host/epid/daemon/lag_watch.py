"""Which lag of the meters' power is in force: the newest one that `epid lag --save` has kept beside a run of this folder.

Only the file is read here; how a lag is found is the analysis's matter.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT, VERSION = "epid-lag", 1


@dataclass(frozen=True, slots=True)
class StoredLag:
    """One channel's lag: the power that is read is the mean over `window_s`, whose middle is `centre_s` old, give or take
    `within_s` (95 %)."""

    board_id: str
    channel: int
    run: str
    centre_s: float
    within_s: float
    window_s: float
    simulated: bool


class LagWatch:
    """Looks into `folder` when asked, and reads each file once. `unreadable`: files of that name that hold no lag."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[tuple[Path, int], list[StoredLag] | None] = {}

    @property
    def unreadable(self) -> int:
        """Files that were looked at last and hold no lag."""
        return sum(found is None for found in self._read.values())

    def in_force(self) -> list[dict[str, Any]]:
        """Return the newest lag of each channel as a plain map, ordered by board and channel."""
        present = {(path, _changed_ns(path)) for path in self._folder.glob("*.lag.json")}
        self._read = {key: self._read[key] if key in self._read else _lags(key[0]) for key in present}
        newest: dict[tuple[str, int], StoredLag] = {}
        for key in sorted(present, key=lambda key: (key[1], key[0])):
            newest |= {(lag.board_id, lag.channel): lag for lag in self._read[key] or ()}
        return [asdict(newest[channel]) for channel in sorted(newest)]


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # removed this moment: reading it will find nothing either


def _lags(path: Path) -> list[StoredLag] | None:
    """The lags in one file; None where it holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if (found["format"], found["version"]) != (FORMAT, VERSION):
            return None
        return [_lag(found, int(channel), fit) for channel, fit in found["channels"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _lag(found: dict[str, Any], channel: int, fit: dict[str, Any]) -> StoredLag:
    centre_s, within_s, window_s = (float(fit[name]) for name in ("centre_s", "within_s", "window_s"))
    simulated = bool(found["simulated"])
    return StoredLag(str(found["board_id"]), channel, str(found["run"]), centre_s, within_s, window_s, simulated)
