"""One run in numbers: joules per token by phase, time per layer, and how far each figure can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from epi_protocol import events

from ..errors import RunFileError
from .calibration import Correction, Corrections, calibrated_track
from .energy import Energy, Idle, Window, chains_ratio, energy_in, idle_power
from .run import BoardRecord, Run, load_run
from .timeline import MeterTrack, SpanTable, span_table

CHAINS_TOLERANCE = 0.005
"""Energy registers and integrated power must agree this well, or the report warns."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Prefill or decode over all requests of a run; joules net of idle are NaN where no idle was measured."""

    tokens: int
    seconds: float
    energy_j: float
    within_j: float
    idle_w: float
    fault: str

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second of this phase."""
        return self.tokens / self.seconds if self.seconds else float("nan")

    @property
    def j_per_token(self) -> float:
        """Gross joules per token: all that the node drew."""
        return self.energy_j / self.tokens if self.tokens else float("nan")

    @property
    def j_per_token_net(self) -> float:
        """Joules per token above what the idle node draws in the same time."""
        return (self.energy_j - self.idle_w * self.seconds) / self.tokens if self.tokens else float("nan")

    @property
    def j_per_token_within(self) -> float:
        """Worst-case error of `j_per_token` from the register's step and the clock; gain is not in it."""
        return self.within_j / self.tokens if self.tokens else float("nan")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer while tokens were generated: medians over all tokens, microseconds; NaN for a half that the layer lacks.

    `j_per_token` is its share of the gross joules per token by its share of the time: every moment of decoding is taken to
    draw the same power. What that assumes is not measured by this run.
    """

    layer: int
    attention_us: float
    ffn_us: float
    whole_us: float
    j_per_token: float


@dataclass(frozen=True, slots=True)
class ChannelEnergy:
    """What one meter channel counted between its first and its last sample in the file."""

    channel: int
    name: str
    begin_ns: int
    end_ns: int
    energy_j: float
    mean_w: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers, and the tracks its pictures are drawn from."""

    run: Run
    track: MeterTrack
    spans: SpanTable
    idle: Idle
    prefill: Phase
    decode: Phase
    layers: tuple[Layer, ...]
    channels: tuple[ChannelEnergy, ...]
    chains_ratio: float
    alignment_bound_us: float
    lost_frames: int
    warnings: tuple[str, ...]
    correction: Correction | None = None

    @property
    def simulated(self) -> bool:
        """Whether the meter was simulated."""
        return self.track.simulated


def summarise(path: Path, channel: int | None = None, corrections: Corrections | None = None) -> Summary:
    """Read a run file and work it out. `channel` overrides the meter channel that the run names, `corrections` its gains.

    Raises RunFileError where there is no power or no spans to work with.
    """
    run = load_run(path)
    spans = span_table(run.node)
    board, index = _metered_channel(run, channel)
    track, correction = calibrated_track(board, index, corrections)
    idle = idle_power(track, _windows(spans, "idle"))
    decode = _phase(track, spans, "decode", idle)
    window = Window(int(track.host_ns[0]), int(track.host_ns[-1]))
    summary = Summary(
        run=run,
        track=track,
        spans=spans,
        idle=idle,
        prefill=_phase(track, spans, "prefill", idle),
        decode=decode,
        layers=_layers(spans, decode.j_per_token),
        channels=_channels(board, corrections),
        chains_ratio=chains_ratio(track, window),
        alignment_bound_us=(float(track.bound_ns.max()) + spans.bound_ns) / 1e3,
        lost_frames=int(track.lost.sum()),
        warnings=(),
        correction=correction,
    )
    return replace(summary, warnings=tuple(_warnings(summary)))


def _metered_channel(run: Run, channel: int | None) -> tuple[BoardRecord, int]:
    named_board, _, named = run.metadata.get("channel", "").rpartition(":")
    if not run.boards:
        raise RunFileError(f"{run.path} holds no power: no meter was connected to epid during the run")
    if channel is None and not named:
        raise RunFileError(f"{run.path} does not say which channel feeds {run.metadata.get('node')!r}; name it with --channel")
    board = run.boards.get(named_board) if named_board else next(iter(run.boards.values()))
    if board is None or not board.payloads:
        raise RunFileError(f"{run.path} holds no samples of meter {named_board or next(iter(run.boards))}")
    return board, int(named) if channel is None else channel


def _windows(spans: SpanTable, kind: str) -> list[Window]:
    found = spans.of_kind(events.KIND[kind])
    return [Window(int(begin), int(end)) for begin, end in zip(found["begin_ns"], found["end_ns"], strict=True)]


def _phase(track: MeterTrack, spans: SpanTable, kind: str, idle: Idle) -> Phase:
    energy: Energy = energy_in(track, _windows(spans, kind))
    tokens = int(spans.of_kind(events.KIND[kind])["count"].sum())
    return Phase(tokens, energy.seconds, energy.joules, energy.within_j, idle.watts, energy.fault)


def _layers(spans: SpanTable, j_per_token: float) -> tuple[Layer, ...]:
    columns = spans.where(spans.columns["phase"] == events.KIND["decode"])
    took_us = (columns["end_ns"] - columns["begin_ns"]) / 1e3
    numbers = np.unique(columns["layer"][columns["layer"] >= 0])
    per_layer = [_halves(columns, took_us, int(number)) for number in numbers]
    token_us = _median(took_us[columns["kind"] == events.KIND["token"]])
    return tuple(
        Layer(int(number), attention, ffn, whole, j_per_token * whole / token_us)
        for number, (attention, ffn, whole) in zip(numbers, per_layer, strict=True)
    )


def _halves(columns: dict[str, np.ndarray], took_us: np.ndarray, layer: int) -> tuple[float, float, float]:
    mine = columns["layer"] == layer
    attention, ffn, whole = (
        _median(took_us[mine & (columns["kind"] == events.KIND[kind])]) for kind in ("attention", "ffn", "layer")
    )
    if np.isnan(whole):
        whole = float(np.nansum([attention, ffn]))
    return attention, ffn, whole


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _channels(board: BoardRecord, corrections: Corrections | None) -> tuple[ChannelEnergy, ...]:
    tracks = [calibrated_track(board, index, corrections) for index in range(len(board.description.get("channels", [])))]
    return tuple(_channel_energy(track) for track, _correction in tracks)


def _channel_energy(track: MeterTrack) -> ChannelEnergy:
    window = Window(int(track.host_ns[0]), int(track.host_ns[-1]))
    joules = energy_in(track, [window]).joules
    return ChannelEnergy(track.channel, track.name, window.begin_ns, window.end_ns, joules, joules / window.seconds)


def _warnings(summary: Summary) -> list[str]:
    warnings = [*summary.run.damage, *(note for note in summary.run.notes if "lost" not in note)]
    if summary.correction:
        warnings += summary.correction.remarks()
    if summary.lost_frames:
        warnings.append(
            f"{summary.lost_frames} frames of the meter are missing; energy is exact all the same, the trace has gaps"
        )
    if summary.spans.dropped:
        warnings.append(f"{summary.spans.dropped} spans were dropped by the node's ring; medians rest on the others")
    if np.isnan(summary.idle.watts):
        warnings.append("no idle was measured in this run: joules net of idle cannot be told")
    for name, phase in (("prefill", summary.prefill), ("decode", summary.decode)):
        if phase.fault:
            warnings.append(f"no energy for {name}: {phase.fault}")
    if abs(summary.chains_ratio - 1) > CHAINS_TOLERANCE:
        warnings.append(
            f"energy registers and integrated power differ by a factor {summary.chains_ratio:.4f}: check the calibration"
        )
    return warnings


def summarise_all(paths: Sequence[Path], channel: int | None = None, corrections: Corrections | None = None) -> list[Summary]:
    """Work out several runs; the first is the baseline of every comparison."""
    return [summarise(path, channel, corrections) for path in paths]


def model_of(summary: Summary) -> dict[str, Any]:
    """What the node said about its model."""
    return dict(summary.run.node.begin.get("model", {}))
