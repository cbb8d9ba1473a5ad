"""From the names of a graph's nodes to the calls that end an attention or feed-forward half. Pure.

llama.cpp names the sum after attention `ffn_inp-N` and the output of a layer `l_out-N`, in every architecture built from such
halves. A callback that sees no names but only counts calls can therefore be read once the order of the names is known.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from epi_protocol.events import KIND

from ..sending.ring import SpanBlock

EMPTY_OPS = frozenset({"NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"})
"""Nodes that only describe memory; the CPU backend passes over them without a call."""

_LAYER_END = re.compile(r"l_out-(\d+)")
_ATTENTION_END = re.compile(r"ffn_inp-(\d+)")


class OpMapError(Exception):
    """A graph whose names do not say where its layers end; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a compute graph, in the order of computation."""

    name: str
    op: str


@dataclass(frozen=True, slots=True)
class SpanPlan:
    """How the calls of one computation become spans: span i of `block` ends at call `ends[i]`, out of `calls` calls.

    Each span begins where the one before ended, the first where the computation was asked for.
    """

    calls: int
    ends: tuple[int, ...]
    block: SpanBlock


def executed(nodes: Sequence[Node], *, fused: bool = True) -> list[str]:
    """Return the names of the operations that the CPU backend runs, one per call of an abort callback.

    With `fused`, a norm and the multiplication right behind it run as one and are reported once (ggml-cpu.c).
    """
    names: list[str] = []
    for before, node in zip((None, *nodes), nodes, strict=False):
        if node.op in EMPTY_OPS:
            continue
        if fused and node.op == "MUL" and before is not None and before.op == "RMS_NORM":
            names.pop()
        names.append(node.name)
    return names


def span_plan(names: Sequence[str], without_attention: Collection[int] = ()) -> SpanPlan:
    """Return the plan of a computation whose calls have these names; OpMapError where they do not tell the layers apart.

    `without_attention` are layers known to hold a feed-forward half only; any other layer without an `ffn_inp` is one span.
    """
    layer_ends, attention_ends = _last_calls(names, _LAYER_END), _last_calls(names, _ATTENTION_END)
    if sorted(layer_ends) != list(range(len(layer_ends))) or not layer_ends:
        raise OpMapError(f"the graph names the ends of layers {sorted(layer_ends)}, expected all from 0")
    spans = _embedding(names)
    for layer in range(len(layer_ends)):
        if layer in attention_ends:
            spans.append((attention_ends[layer], "attention", layer))
        halved = layer in attention_ends or layer in without_attention
        spans.append((layer_ends[layer], "ffn" if halved else "layer", layer))
    if spans[-1][0] < len(names) - 1:
        spans.append((len(names) - 1, "head", -1))
    return _plan(len(names), spans)


def _last_calls(names: Sequence[str], pattern: re.Pattern[str]) -> dict[int, int]:
    calls = {}
    for call, name in enumerate(names):
        match = pattern.fullmatch(name)
        if match:
            calls[int(match[1])] = call
    return calls


def _embedding(names: Sequence[str]) -> list[tuple[int, str, int]]:
    """The first node that bears the suffix of layer 0 follows the last one of the embedding."""
    first = next((call for call, name in enumerate(names) if name.endswith("-0")), 0)
    return [(first - 1, "embedding", -1)] if first else []


def _plan(calls: int, spans: Sequence[tuple[int, str, int]]) -> SpanPlan:
    ends = tuple(end for end, _kind, _layer in spans)
    if any(end <= before for before, end in pairwise(ends)):
        raise OpMapError("the graph does not compute its layers one after the other")
    kinds = array("B", [KIND[kind] for _end, kind, _layer in spans])
    block = SpanBlock(kinds, array("h", [layer for _end, _kind, layer in spans]))
    return SpanPlan(calls, ends, block)
