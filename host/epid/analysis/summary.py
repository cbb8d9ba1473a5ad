"""One run in numbers: joules per token by phase, time and joules per layer, and how far each figure can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from epi_protocol import events

from ..errors import RunFileError
from .accuracy import Accuracy, accuracy_of
from .channels import Metering, metering_of
from .epi import Epi, epi_of
from .lag.lag import Lag
from .layers.layer import Layer
from .metering.calibration import Correction, Corrections, calibrated_track
from .metering.energy import Window, energy_in
from .metering.gain import Gain
from .metering.idle import Idle
from .metering.metered import metered_channel
from .remarks import remarks
from .timeline.run import BoardRecord, Run, load_run
from .timeline.timeline import MeterTrack, SpanTable, span_table
from .windows.conservation import Conservation
from .windows.consumption import Consumption
from .windows.parts import conservation_of

Phase = Consumption


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
    """A run in numbers, and the tracks its pictures are drawn from.

    `request`, `prefill`, `decode`, `token`: what the spans of that kind consumed. `lag`: of P, None where the run does not tell.
    `context`: mean number of tokens in the cache while decoding. `temperature_c`: mean of the node's own readings, NaN without.
    """

    run: Run
    track: MeterTrack
    spans: SpanTable
    idle: Idle
    request: Consumption
    prefill: Consumption
    decode: Consumption
    token: Consumption
    layers: tuple[Layer, ...]
    channels: tuple[ChannelEnergy, ...]
    conservation: Conservation
    gain: Gain
    lag: Lag | None
    epi: Epi
    chains_ratio: float
    alignment_bound_us: float
    lost_frames: int
    context: float
    temperature_c: float
    warnings: tuple[str, ...]
    correction: Correction | None = None

    @property
    def simulated(self) -> bool:
        """Whether the meter was simulated."""
        return self.track.simulated

    @property
    def complete(self) -> bool:
        """Whether the run came to its end: not aborted, nothing of the file missing."""
        return self.run.end.get("status") == "complete" and not self.run.damage


def summarise(
    path: Path, channel: int | None = None, corrections: Corrections | None = None, accuracy: Accuracy | None = None
) -> Summary:
    """Read a run file and work it out.

    `channel` overrides the meter channel that the run names, `corrections` its gains, `accuracy` what stands in its model map.
    Raises RunFileError where there is no power or no spans to work with.
    """
    run = load_run(path)
    spans = span_table(run.node)
    if not len(spans.columns["kind"]):
        raise RunFileError(f"{run.path} holds no spans: the run ended before its first, or hookrun had nothing to hook")
    board, index = metered_channel(run, channel)
    metering = metering_of(run, spans, board, index, corrections)
    found, remark = (accuracy, "") if accuracy else accuracy_of(run.node.begin.get("model", {}))
    summary = _worked_out(run, metering, found, _channels(board, corrections))
    return replace(summary, warnings=(*([remark] if remark else []), *remarks(summary)))


def _worked_out(run: Run, metering: Metering, accuracy: Accuracy | None, channels: tuple[ChannelEnergy, ...]) -> Summary:
    spans, track, tally, layers = metering.spans, metering.track, metering.tally, metering.layers()
    decode = tally.of(spans, "decode")
    return Summary(
        run=run,
        track=track,
        spans=spans,
        idle=metering.idle,
        request=tally.of(spans, "request"),
        prefill=tally.of(spans, "prefill"),
        decode=decode,
        token=tally.of(spans, "token"),
        layers=layers.layers,
        channels=channels,
        conservation=conservation_of(metering.registers, spans, layers.parts),
        gain=metering.gain,
        lag=metering.lag,
        epi=epi_of(decode.per_token, accuracy),
        chains_ratio=metering.ratio,
        alignment_bound_us=(float(track.bound_ns.max()) + spans.bound_ns) / 1e3,
        lost_frames=int(track.lost.sum()),
        context=_context(spans),
        temperature_c=_temperature_c(run),
        warnings=(),
        correction=metering.correction,
    )


def _context(spans: SpanTable) -> float:
    """Mean tokens in the cache while decoding: the prompt, and half of what was generated."""
    prefill, decode = (spans.of_kind(events.KIND[kind])["count"] for kind in ("prefill", "decode"))
    if not len(decode):
        return float("nan")
    return float(prefill.mean() if len(prefill) else 0) + float((decode.astype(float) ** 2).sum() / max(decode.sum(), 1)) / 2


def _temperature_c(run: Run) -> float:
    readings = [values["temperature_c"] for _node_ns, values in run.node.telemetry if "temperature_c" in values]
    return float(np.mean(readings)) if readings else float("nan")


def _channels(board: BoardRecord, corrections: Corrections | None) -> tuple[ChannelEnergy, ...]:
    tracks = [calibrated_track(board, index, corrections) for index in range(len(board.description.get("channels", [])))]
    return tuple(_channel_energy(track) for track, _correction in tracks)


def _channel_energy(track: MeterTrack) -> ChannelEnergy:
    window = Window(int(track.host_ns[0]), int(track.host_ns[-1]))
    joules = energy_in(track, [window]).joules
    mean_w = joules / window.seconds if window.seconds else float("nan")
    return ChannelEnergy(track.channel, track.name, window.begin_ns, window.end_ns, joules, mean_w)


def summarise_all(
    paths: Sequence[Path], channel: int | None = None, corrections: Corrections | None = None, accuracy: Accuracy | None = None
) -> list[Summary]:
    """Work out several runs; the first is the baseline of every comparison."""
    return [summarise(path, channel, corrections, accuracy) for path in paths]


def model_of(summary: Summary) -> dict[str, Any]:
    """What the node said about its model."""
    return dict(summary.run.node.begin.get("model", {}))
