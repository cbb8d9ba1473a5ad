"""Graphs of invented architectures: the plan's spans against where the halves of each layer were really put."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol.events import KIND_NAME
from hookrun.llama.opmap import EMPTY_OPS, Node, OpMapError, SpanPlan, executed, span_plan
from hookrun.llama.tracer import Stamps, plan_for

COMPUTING = ["MUL_MAT", "ROPE", "SET_ROWS", "FLASH_ATTN_EXT", "SWIGLU", "GET_ROWS", "SOFT_MAX", "ADD", "MUL", "CPY"]


@dataclass(frozen=True)
class Graph:
    """Nodes, and for each span in order: (kind, layer, number of calls in it)."""

    nodes: list[Node]
    spans: list[tuple[str, int, int]]
    without_attention: frozenset[int]


@st.composite
def part(draw: st.DrawFn, suffix: str, last: str, *, normed: bool) -> tuple[list[Node], int]:
    """Some nodes of which the last, an ADD, bears a name that tells; and how many calls a fusing backend makes for them."""
    nodes, calls = [], 0
    if normed:
        nodes += [Node(f"norm{suffix}", "RMS_NORM"), Node(f"attn_norm{suffix}", "MUL")]
        calls += 1
    for op in draw(st.lists(st.sampled_from([*COMPUTING, *sorted(EMPTY_OPS)]), max_size=6)):
        if op == "MUL" and nodes and nodes[-1].op == "RMS_NORM":
            continue
        nodes.append(Node(draw(st.sampled_from([f"x{suffix}", "node_7", f"Qcur{suffix}", "cache_k_l3"])), op))
        calls += op not in EMPTY_OPS
    return [*nodes, Node(last, "ADD")], calls + 1


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes, spans, without = [], [], set()
    if draw(st.booleans()):
        nodes.append(Node("embd", "GET_ROWS"))
        spans.append(("embedding", -1, 1))
    halves = draw(st.lists(st.sampled_from(["both", "ffn", "whole"]), min_size=1, max_size=5))
    for layer, kind in enumerate(halves):
        first = True
        if kind == "both":
            made, calls = draw(part(f"-{layer}", f"ffn_inp-{layer}", normed=True))
            nodes += made
            spans.append(("attention", layer, calls))
            first = False
        made, calls = draw(part(f"-{layer}", f"l_out-{layer}", normed=first or draw(st.booleans())))
        nodes += made
        spans.append(("layer" if kind == "whole" else "ffn", layer, calls))
        if kind == "ffn":
            without.add(layer)
    if draw(st.booleans()):
        nodes += [Node("norm", "RMS_NORM"), Node("result_norm", "MUL"), Node("result_output", "MUL_MAT")]
        spans.append(("head", -1, 2))
    return Graph(nodes, spans, frozenset(without))


def described(plan: SpanPlan) -> list[tuple[str, int, int]]:
    begins = (-1, *plan.ends)
    kinds = [KIND_NAME[number] for number in plan.block.kinds]
    return [
        (kind, layer, end - begin) for kind, layer, begin, end in zip(kinds, plan.block.layers, begins, plan.ends, strict=False)
    ]


@given(graphs())
def test_calls_fall_into_the_spans_they_were_made_in(graph: Graph) -> None:
    calls = sum(count for _kind, _layer, count in graph.spans)
    plan = plan_for(Stamps.ABORT, graph.nodes, calls, graph.without_attention)
    assert plan.calls == calls
    assert described(plan) == graph.spans


@given(graphs())
def test_evaluation_sees_every_node_and_the_same_spans(graph: Graph) -> None:
    plan = plan_for(Stamps.EVAL, graph.nodes, len(graph.nodes), graph.without_attention)
    assert [(kind, layer) for kind, layer, _count in described(plan)] == [(kind, layer) for kind, layer, _count in graph.spans]
    assert plan.ends[-1] == len(graph.nodes) - 1


@given(graphs())
def test_a_backend_that_fuses_nothing_is_recognised_by_its_calls(graph: Graph) -> None:
    unfused = [node for node in graph.nodes if node.op not in EMPTY_OPS]
    plan = plan_for(Stamps.ABORT, graph.nodes, len(unfused), graph.without_attention)
    assert [unfused[end].name for end in plan.ends] == [executed(graph.nodes)[end] for end in _ends(graph)]


def _ends(graph: Graph) -> tuple[int, ...]:
    return span_plan(executed(graph.nodes), graph.without_attention).ends


@given(graphs(), st.integers(-40, 40))
def test_any_other_number_of_calls_is_refused(graph: Graph, off: int) -> None:
    fused, unfused = len(executed(graph.nodes)), len(executed(graph.nodes, fused=False))
    calls = fused + off
    if calls in (fused, unfused):
        return
    with pytest.raises(OpMapError, match=f"{calls} calls for a graph that explains {fused} or {unfused}"):
        plan_for(Stamps.ABORT, graph.nodes, calls, ())


def test_a_layer_without_attention_is_told_from_one_whose_halves_are_unnamed() -> None:
    names = ["embd", "a-0", "l_out-0", "a-1", "ffn_inp-1", "l_out-1", "result_output"]
    assert [span[0] for span in described(span_plan(names, {0}))] == ["embedding", "ffn", "attention", "ffn", "head"]
    assert [span[0] for span in described(span_plan(names))] == ["embedding", "layer", "attention", "ffn", "head"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], "expected all from 0"),
        (["embd", "result_output"], "expected all from 0"),
        (["x-0", "l_out-0", "x-2", "l_out-2"], r"layers \[0, 2\]"),
        (["x-1", "l_out-1", "x-0", "l_out-0"], "one after the other"),
        (["x-0", "l_out-0", "ffn_inp-0"], "one after the other"),
    ],
)
def test_names_that_do_not_tell_are_refused(names: list[str], complaint: str) -> None:
    with pytest.raises(OpMapError, match=complaint):
        span_plan(names)


def test_ten_layers_sort_as_numbers() -> None:
    names = [name for layer in range(12) for name in (f"x-{layer}", f"ffn_inp-{layer}", f"l_out-{layer}")]
    assert list(span_plan(names).block.layers) == [layer for layer in range(12) for _ in range(2)]
