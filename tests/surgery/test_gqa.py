"""The index arithmetic of grouped-query attention against a definition that only counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.errors import SurgeryError
from epi_surgery.gqa import LayerHeads, all_heads, draw, group_size, heads_of, is_paired, keep, kv_of


def wiring(n_head: int, n_kv: int) -> dict[int, int]:
    """By definition: deal the query heads out in order, equally many to each KV head in turn."""
    owner, head = {}, 0
    for kv in range(n_kv):
        for _ in range(n_head // n_kv):
            owner[head] = kv
            head += 1
    return owner


shapes = st.tuples(st.integers(1, 12), st.integers(1, 8)).map(lambda pair: (pair[0] * pair[1], pair[0]))


@given(shapes)
def test_kv_of_is_the_dealt_order(shape):
    n_head, n_kv = shape
    assert {head: kv_of(head, n_head, n_kv) for head in range(n_head)} == wiring(n_head, n_kv)


@given(shapes)
def test_heads_of_inverts_kv_of(shape):
    n_head, n_kv = shape
    assert {head: kv for kv in range(n_kv) for head in heads_of(kv, n_head, n_kv)} == wiring(n_head, n_kv)


@given(shapes, st.data())
def test_a_kept_layer_is_wired_by_the_engine_as_before(shape, data):
    n_head, n_kv = shape
    before = wiring(n_head, n_kv)
    size = data.draw(st.integers(1, n_head // n_kv))
    groups = data.draw(st.sets(st.integers(0, n_kv - 1), min_size=1))
    query = [
        head for kv in groups for head in data.draw(st.permutations([h for h, owner in before.items() if owner == kv]))[:size]
    ]
    layer = keep(query, n_head, n_kv)
    after = wiring(len(layer.query), len(layer.kv))
    assert [layer.kv[after[position]] for position in range(len(layer.query))] == [before[head] for head in layer.query]
    assert is_paired(layer, n_head, n_kv)
    assert list(layer.query) == sorted(set(query)) and list(layer.kv) == sorted(groups)


@given(shapes, st.data())
def test_is_paired_agrees_with_the_wiring_for_any_kept_set(shape, data):
    n_head, n_kv = shape
    before = wiring(n_head, n_kv)
    query = tuple(sorted(data.draw(st.sets(st.integers(0, n_head - 1), min_size=1))))
    kv = tuple(sorted({before[head] for head in query}))
    after = wiring(len(query), len(kv)) if len(query) % len(kv) == 0 else {}
    right = bool(after) and all(kv[after[i]] == before[head] for i, head in enumerate(query))
    assert is_paired(LayerHeads(query, kv), n_head, n_kv) == right
    if not right:
        with pytest.raises(SurgeryError, match="must keep equally many"):
            keep(query, n_head, n_kv)


@pytest.mark.parametrize(("n_head", "n_kv"), [(7, 3), (4, 0), (0, 0), (3, 4)])
def test_shapes_that_abort_the_engine_are_refused(n_head, n_kv):
    with pytest.raises(SurgeryError):
        group_size(n_head, n_kv)


def test_a_group_offset_by_the_wrong_factor_would_be_seen():
    # 32 query heads on 8 KV heads: group 7 holds heads 28-31. Counting by n_kv instead of the group size would say 56.
    assert list(heads_of(7, 32, 8)) == [28, 29, 30, 31]
    assert kv_of(31, 32, 8) == 7


def test_drawing_shows_what_left():
    assert draw(keep([0, 2, 3, 4, 7, 8], 9, 3), 9, 3) == ["query   0 . 2 | 3 4 . | . 7 8", "kv        0       1       2"]
    assert draw(keep([0, 1, 2, 6, 7, 8], 9, 3), 9, 3) == ["query   0 1 2 | . . . | 6 7 8", "kv        0       .       2"]
    assert draw(all_heads(0, 0), 0, 0) == ["query   none (a layer without attention)"]
