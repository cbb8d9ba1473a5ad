"""A trace for ui.perfetto.dev and trace_processor: power as counters, phases, tokens and layers as slices, on one axis.

Format: TrackEvent packets of Perfetto's protobuf (docs/reference/synthetic-track-event). Every run is a group of tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto

from epi_protocol import events

from .recorded import Recorded
from .whole_file import whole_file

LEVELS = (
    ("requests", ("request", "idle", "warmup", "burn", "rest")),
    ("phases", ("prefill", "decode")),
    ("tokens", ("token",)),
    ("layers", ("embedding", "attention", "ffn", "layer", "head", "repeat", "repeat_attention", "repeat_ffn", "sync")),
)
"""(track, kinds of span on it): spans of one track never overlap, those of different tracks contain each other."""

COUNTERS = (("power", "W"), ("energy", "J"), ("voltage", "V"), ("current", "A"))
_WITH_JOULES = ("request", "prefill", "decode", "idle")
_SEQUENCE = 1
_PACKETS_AT_ONCE = 8192
_BEGIN, _END, _COUNTER = (proto.TrackEvent.TYPE_SLICE_BEGIN, proto.TrackEvent.TYPE_SLICE_END, proto.TrackEvent.TYPE_COUNTER)

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Tracks:
    """Numbers of the tracks of one run: the group, and each track in it by name."""

    base: int

    def of(self, name: str) -> int:
        names = [level for level, _kinds in LEVELS] + [counter for counter, _unit in COUNTERS] + ["temperature", "gaps"]
        return self.base + 1 + names.index(name)


def write_perfetto(path: Path, runs: Sequence[Recorded], host_time: bool, progress: Progress) -> None:
    """Write one trace of some runs, each from its own zero, or at their true distances where `host_time` is set.

    `progress` is told of the packets written.
    """
    first_ns = min(run.zero_ns for run in runs)
    with whole_file(path) as unfinished, unfinished.open("wb") as stream:
        writer = _Writer(stream, progress)
        for number, run in enumerate(runs):
            tracks = _Tracks((number + 1) << 16)
            zero_ns = first_ns if host_time else run.zero_ns
            writer.write(_descriptors(run, tracks))
            writer.write(_counters(run, tracks, zero_ns))
            writer.write(_temperature(run, tracks, zero_ns))
            writer.write(_gaps(run, tracks, zero_ns))
            for name, kinds in LEVELS:
                writer.write(_slices(run, tracks.of(name), kinds, zero_ns))
        writer.flush()


class _Writer:
    """Puts packets into the file some thousand at a time: a trace is the concatenation of such parts."""

    def __init__(self, stream: BinaryIO, progress: Progress) -> None:
        self._stream, self._progress, self._part = stream, progress, proto.Trace()

    def write(self, packets: Iterator[Any]) -> None:
        for packet in packets:
            self._part.packet.append(packet)
            if len(self._part.packet) >= _PACKETS_AT_ONCE:
                self.flush()

    def flush(self) -> None:
        self._stream.write(self._part.SerializeToString())
        self._progress(len(self._part.packet))
        self._part = proto.Trace()


def _descriptors(run: Recorded, tracks: _Tracks) -> Iterator[Any]:
    group = proto.TracePacket()
    group.track_descriptor.uuid, group.track_descriptor.name = tracks.base, run.label
    yield group
    for name, unit in (*COUNTERS, ("temperature", "°C")):
        packet = _named(tracks, name, run)
        packet.track_descriptor.counter.unit_name = unit
        yield packet
    for name, _kinds in (*LEVELS, ("gaps", ())):
        yield _named(tracks, name, run)


def _named(tracks: _Tracks, name: str, run: Recorded) -> Any:
    packet = proto.TracePacket()
    descriptor = packet.track_descriptor
    descriptor.uuid, descriptor.parent_uuid = tracks.of(name), tracks.base
    descriptor.name = f"{name} (simulated)" if run.simulated and name in ("power", "energy", "voltage", "current") else name
    return packet


def _counters(run: Recorded, tracks: _Tracks, zero_ns: int) -> Iterator[Any]:
    track = run.track
    first = np.flatnonzero(np.isfinite(track.energy_j))
    energy_j = track.energy_j - (track.energy_j[first[0]] if len(first) else 0.0)
    for name, values in (("power", track.p_w), ("energy", energy_j), ("voltage", track.u_v), ("current", track.i_a)):
        known = np.isfinite(values)
        yield from _counter(tracks.of(name), track.host_ns[known] - zero_ns, values[known])


def _temperature(run: Recorded, tracks: _Tracks, zero_ns: int) -> Iterator[Any]:
    at_ns, celsius = run.telemetry("temperature_c")
    return _counter(tracks.of("temperature"), at_ns - zero_ns, celsius)


def _counter(uuid: int, at_ns: np.ndarray, values: np.ndarray) -> Iterator[Any]:
    for at, value in zip(at_ns.tolist(), values.tolist(), strict=True):
        packet = _event(at, uuid, _COUNTER)
        packet.track_event.double_counter_value = value
        yield packet


def _gaps(run: Recorded, tracks: _Tracks, zero_ns: int) -> Iterator[Any]:
    """A slice wherever frames of the meter are missing: a counter would hold its last value there."""
    for at in np.flatnonzero(run.track.lost > 0).tolist():
        begin_ns, end_ns = int(run.track.host_ns[max(0, at - 1)]) - zero_ns, int(run.track.host_ns[at]) - zero_ns
        yield from _slice(tracks.of("gaps"), begin_ns, end_ns, f"{int(run.track.lost[at])} frames lost", None)


def _slices(run: Recorded, uuid: int, kinds: tuple[str, ...], zero_ns: int) -> Iterator[Any]:
    columns = run.spans.where(np.isin(run.spans.columns["kind"], [events.KIND[kind] for kind in kinds]))
    order = np.argsort(columns["begin_ns"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    joules = run.metered_j(columns) if set(kinds) & set(_WITH_JOULES) and len(order) else np.full(len(order), np.nan)
    wanted = ("begin_ns", "end_ns", "kind", "layer", "token", "count")
    rows = zip(*(columns[name].tolist() for name in wanted), joules.tolist(), strict=True)
    for begin_ns, end_ns, kind, layer, token, count, counted_j in rows:
        name = events.KIND_NAME.get(kind, str(kind))
        title = f"{name} {layer}" if layer >= 0 else f"{name} {token}" if token >= 0 and name == "token" else name
        notes = {"tokens": count, "metered_j": counted_j} if name in _WITH_JOULES else None
        yield from _slice(uuid, begin_ns - zero_ns, end_ns - zero_ns, title, notes)


def _slice(uuid: int, begin_ns: int, end_ns: int, name: str, notes: dict[str, float] | None) -> Iterator[Any]:
    packet = _event(begin_ns, uuid, _BEGIN)
    packet.track_event.name = name
    for key, value in (notes or {}).items():
        if np.isfinite(value):
            note = packet.track_event.debug_annotations.add()
            note.name, note.double_value = key, float(value)
    yield packet
    yield _event(end_ns, uuid, _END)


def _event(at_ns: int, uuid: int, kind: int) -> Any:
    packet = proto.TracePacket()
    packet.timestamp, packet.trusted_packet_sequence_id = max(0, at_ns), _SEQUENCE
    packet.track_event.type, packet.track_event.track_uuid = kind, uuid
    return packet
