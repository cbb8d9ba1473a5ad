"""The picture of a lag: readings against the power the pattern predicts, and the averaging window behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .analysis.lag.fir_fit import TAP_S
from .analysis.lag.lag import LagFit
from .analysis.timeline.timeline import MeterTrack
from .errors import UsageError

_FORMATS = (".png", ".svg", ".pdf")
_SHOWN_S = 6.0


def draw_lag(path: Path, label: str, track: MeterTrack, found: LagFit) -> None:
    """Write the picture; the name's ending chooses the format. UsageError where it cannot be written."""
    if path.suffix not in _FORMATS:
        raise UsageError(f"cannot draw {path}: its name must end in {', '.join(_FORMATS)}")
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1)
    tag = " (simulated)" if track.simulated else ""
    figure.suptitle(f"Lag of the power readings, {label}{tag}, channel {track.channel}")
    _draw_readings(above, track, found)
    _draw_window(below, found)
    try:
        with matplotlib.rc_context({"svg.hashsalt": "epid"}):
            figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _draw_readings(axes: Any, track: MeterTrack, found: LagFit) -> None:
    """Some seconds of the first pattern: the load as the spans say, and the readings, shifted back by their age."""
    pattern = found.patterns[0]
    begin_ns = int(pattern.edges_ns[0])
    mine = (track.host_ns >= begin_ns) & (track.host_ns <= begin_ns + _SHOWN_S * 1e9)
    at_s, p_w = (track.host_ns[mine] - begin_ns) / 1e9, track.p_w[mine]
    low_w, high_w = np.nanmin(track.p_w[mine]), np.nanmax(track.p_w[mine])
    edges_s = (pattern.edges_ns - begin_ns) / 1e9
    axes.stairs(low_w + pattern.level * (high_w - low_w), edges_s, color="0.8", fill=True, baseline=low_w, label="cores burn")
    axes.plot(at_s, p_w, ".-", color="tab:red", alpha=0.4, ms=3, lw=0.8, label="P when read")
    axes.plot(at_s - found.lag.centre_s, p_w, ".-", color="tab:blue", ms=3, lw=0.8, label="P at the middle of its window")
    axes.set(xlim=(0, _SHOWN_S), xlabel="time in the pattern, s", ylabel="power, W")
    axes.legend(loc="upper right", fontsize=8)


def _draw_window(axes: Any, found: LagFit) -> None:
    """Both fitted shapes over the age of the power that they average."""
    response, lag = found.response, found.boxcar
    edges_ms = np.arange(len(response.taps) + 1) * TAP_S * 1e3
    axes.stairs(response.taps / TAP_S, edges_ms, color="tab:green", fill=True, alpha=0.4, label="free, non-negative, sum 1")
    box_ms = np.array([lag.delay_s, lag.delay_s + lag.window_s]) * 1e3
    axes.stairs([1 / lag.window_s], box_ms, color="tab:blue", lw=2, label=f"boxcar {lag.window_s * 1e3:.0f} ms")
    within_ms, centre_ms = found.lag.within_s * 1e3, found.lag.centre_s * 1e3
    axes.axvspan(centre_ms - within_ms, centre_ms + within_ms, color="tab:red", alpha=0.3, label=f"middle ± {within_ms:.1f} ms")
    axes.set(xlabel="age of the power when P is read, ms", ylabel="weight, 1/s", xlim=(min(0, box_ms[0]), edges_ms[-1]))
    axes.legend(loc="upper right", fontsize=8)
