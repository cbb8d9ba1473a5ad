"""Spans of a real inference, from the file that `hookrun --out FILE.events` wrote: real times under hidden watts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from epi_protocol import events
from epi_protocol.errors import ProtocolError
from epi_tools.simrun.errors import TruthError
from epi_tools.simrun.spans import Spans
from epi_tools.simrun.truth import Truth


@dataclass(frozen=True, slots=True)
class Recorded:
    """Spans that begin at time 0, and what the node said about its model."""

    spans: Spans
    model: dict[str, Any]

    def fitted(self, truth: Truth) -> Truth:
        """The truth with as many layers as were recorded. Raises TruthError where it lists another number of them."""
        n_layer = int(self.spans.columns["layer"].max()) + 1
        listed = [truth.timing.attention_us, truth.timing.ffn_us, truth.power.attention_w, truth.power.ffn_w]
        wrong = next((len(value) for value in listed if isinstance(value, tuple) and len(value) != n_layer), None)
        if wrong is not None:
            raise TruthError(f"The truth lists {wrong} layers, and {n_layer} were recorded.")
        return replace(truth, model=replace(truth.model, n_layer=max(1, n_layer)))


def read_recorded(path: Path) -> Recorded:
    """Read a hookrun event file; one that was cut off counts up to its last whole message. Raises TruthError."""
    columns: list[dict[str, np.ndarray]] = []
    model: dict[str, Any] = {}
    for kind, body in _messages(path):
        if kind == "run_begin":
            model = dict(body.get("model", {}))
        elif kind == "spans":
            columns.append(_columns(path, body))
    if not columns:
        raise TruthError(f"{path} holds no spans; record some with `hookrun llama --out FILE.events`.")
    spans = Spans({name: np.concatenate([part[name] for part in columns]) for name in columns[0]})
    return Recorded(spans.shifted(-int(spans.columns["begin_ns"].min())), model)


def _messages(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as stream:
            found = list(_whole_messages(msgpack.Unpacker(stream, max_buffer_size=1 << 30)))
    except OSError as error:
        raise TruthError(f"Cannot read the spans {path}: {error.strerror}.") from error
    if not found or found[0][0] != "events":
        raise TruthError(f"{path} is no event file of hookrun; `hookrun llama --out FILE.events` makes one.")
    return found


def _whole_messages(unpacker: Any) -> Any:
    while True:
        try:
            message = unpacker.unpack()
        except (msgpack.OutOfData, ValueError, msgpack.exceptions.UnpackException):
            return
        if not (isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict)):
            return
        yield str(message[0]), message[1]


def _columns(path: Path, body: dict[str, Any]) -> dict[str, np.ndarray]:
    try:
        arrays = events.span_batch(body).arrays()
    except ProtocolError as error:
        raise TruthError(f"{path} holds spans of another format: {error}.") from error
    return {name: np.array(column, dtype=np.int64) for name, column in arrays.items()}
