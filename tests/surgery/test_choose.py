"""Choosing heads: counts, order and refusals, for any scores and any shape."""

from itertools import combinations, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from epi_surgery.aim import Aim, targeted
from epi_surgery.choose import choose
from epi_surgery.errors import BadPlan
from epi_surgery.gqa import heads_of, is_paired, kv_of
from epi_surgery.rules import Rules


@st.composite
def models(draw):
    """Scores and head counts of a uniform model."""
    n_layer, n_kv, group = draw(st.integers(1, 8)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    n_head = n_kv * group
    values = st.floats(0, 10, allow_nan=False)
    scores = draw(st.lists(st.lists(values, min_size=n_head, max_size=n_head), min_size=n_layer, max_size=n_layer))
    return scores, [n_head] * n_layer, [n_kv] * n_layer


def chosen(model, aim):
    try:
        return choose(*model, aim)
    except BadPlan:
        assume(False)


aims = st.builds(
    Aim,
    st.floats(0.01, 0.99),
    st.sampled_from(["balanced", "groups", "ragged", "auto"]),
    st.sampled_from(["global", "layer"]),
    st.sampled_from(["all", "early", "late"]),
    st.sets(st.integers(0, 3)).map(lambda layers: tuple(sorted(layers))),
)


@given(models(), aims)
def test_every_layer_stays_runnable_and_sorted(model, aim):
    _, n_head, n_kv = model
    for layer, heads in enumerate(chosen(model, aim)):
        assert heads.query
        assert aim.layout == "ragged" or is_paired(heads, n_head[layer], n_kv[layer])
        assert list(heads.query) == sorted(set(heads.query)) and list(heads.kv) == sorted(set(heads.kv))


@given(models(), aims)
def test_only_targeted_and_unprotected_layers_lose_heads(model, aim):
    _, n_head, _ = model
    for layer, heads in enumerate(chosen(model, aim)):
        if layer in aim.protected or layer not in targeted(aim.target, len(n_head)):
            assert len(heads.query) == n_head[layer]


@given(models(), aims)
def test_the_layout_is_what_it_says(model, aim):
    _, n_head, n_kv = model
    for layer, heads in enumerate(chosen(model, aim)):
        if aim.layout == "balanced":
            assert len(heads.kv) == n_kv[layer]
        elif aim.layout == "groups":
            assert len(heads.query) == len(heads.kv) * (n_head[layer] // n_kv[layer])


@given(models(), aims)
def test_the_share_lands_within_half_a_step_of_the_aim(model, aim):
    _, n_head, n_kv = model
    kept = chosen(model, aim)
    goal = aim.fraction * sum(n_head[layer] for layer in targeted(aim.target, len(n_head)))
    removed = sum(n_head) - sum(len(heads.query) for heads in kept)
    step = {"balanced": n_kv[0], "groups": n_head[0] // n_kv[0], "ragged": 1, "auto": n_head[0]}[aim.layout]
    assert abs(removed - goal) <= step / 2 + 1e-9


@given(models(), st.sampled_from(["balanced", "groups", "auto"]), st.floats(0.05, 0.95))
def test_uniform_takes_the_same_count_everywhere(model, layout, fraction):
    kept = chosen(model, Aim(fraction, layout, "uniform"))
    assert len({(len(heads.query), len(heads.kv)) for heads in kept}) == 1


@given(models(), st.floats(0.05, 0.95))
def test_balanced_removes_the_weakest_of_each_group(model, fraction):
    scores, n_head, n_kv = model
    for layer, heads in enumerate(chosen(model, Aim(fraction, "balanced"))):
        for kv in range(n_kv[layer]):
            group = set(heads_of(kv, n_head[layer], n_kv[layer]))
            stay, leave = group & set(heads.query), group - set(heads.query)
            assert not leave or max(scores[layer][h] for h in leave) <= min(scores[layer][h] for h in stay)


@given(models(), st.floats(0.05, 0.95))
def test_groups_removes_no_group_dearer_than_one_it_could_have_taken(model, fraction):
    scores, n_head, n_kv = model
    cost = {
        (layer, kv): sum(scores[layer][head] for head in heads_of(kv, n_head[layer], n_kv[layer]))
        for layer in range(len(n_head))
        for kv in range(n_kv[layer])
    }
    kept = chosen(model, Aim(fraction, "groups"))
    gone = [key for key in cost if key[1] not in kept[key[0]].kv]
    spare = [key for key in cost if key not in gone and len(kept[key[0]].kv) > 1]
    assert not gone or not spare or max(cost[key] for key in gone) <= min(cost[key] for key in spare) + 1e-9


SCORES = [[float(head) for head in range(8)]] * 4


def refusal(aim, n_head=8, n_kv=4):
    with pytest.raises(BadPlan) as caught:
        choose(SCORES, [n_head] * 4, [n_kv] * 4, aim)
    return str(caught.value)


@pytest.mark.parametrize("spread", ["uniform", "global", "layer"])
@pytest.mark.parametrize(
    ("fraction", "word"),
    [(0.0, "nothing"), (-1.0, "nothing"), (1.0, "everything"), (0.01, "removes nothing"), (0.99, "at most 0.75")],
)
def test_fractions_that_cannot_be_met_are_refused_with_what_can(fraction, word, spread):
    message = refusal(Aim(fraction, "groups", spread))
    assert word in message or (word == "at most 0.75" and "at most 0.75" in message)


def test_contradictions_are_refused():
    assert "cannot go with protected" in refusal(Aim(0.5, "groups", "uniform", protected=(0,)))
    assert "cannot go with protected" in refusal(Aim(0.5, "groups", "uniform", target="early"))
    assert "layer 9 cannot be protected" in refusal(Aim(0.5, "groups", protected=(9,)))
    assert "try the other layouts" in refusal(Aim(0.5, "balanced", "uniform"), n_head=4, n_kv=4)
    assert "try the other layouts" in refusal(Aim(0.5, "groups"), n_head=8, n_kv=1)


def test_protecting_everything_is_refused():
    assert "can remove nothing here: every layer is protected" in refusal(Aim(0.5, "groups", protected=(0, 1, 2, 3)))


def test_quarters_of_32_layers_are_those_of_the_paper():
    assert list(targeted("early", 32)) == list(range(8))
    assert list(targeted("late", 32)) == list(range(24, 32))


def test_kv_of_chosen_heads_is_kept():
    kept = choose(SCORES, [8] * 4, [4] * 4, Aim(0.5, "balanced", "uniform"))
    assert kept[0].query == (1, 3, 5, 7)
    assert {kv_of(head, 8, 4) for head in kept[0].query} == set(kept[0].kv)


def subsets(n_head, n_kv, legal):
    """Every kept set of a small layer that `legal` accepts, by its definition."""
    for size in range(1, n_head + 1):
        for kept in combinations(range(n_head), size):
            sizes = [sum(head // (n_head // n_kv) == kv for head in kept) for kv in range(n_kv)]
            if legal([count for count in sizes if count]):
                yield kept


def equal(sizes):
    return len(set(sizes)) == 1


@given(
    st.data(), st.sampled_from([(4, 2), (6, 2), (6, 3)]), st.sampled_from([("auto", equal), ("ragged", any)]), st.integers(1, 6)
)
def test_no_other_legal_choice_of_as_many_heads_costs_less(data, shape, layout, n_removed):
    n_head, n_kv = shape
    name, legal = layout
    row = st.lists(st.integers(-5, 9).map(float), min_size=n_head, max_size=n_head)
    scores = [data.draw(row), data.draw(row)]
    kept = chosen((scores, [n_head] * 2, [n_kv] * 2), Aim(n_removed / (2 * n_head), name))
    removed = 2 * n_head - sum(len(heads.query) for heads in kept)

    def cost(query, layer):
        return sum(scores[layer]) - sum(scores[layer][head] for head in query)

    every = [list(subsets(n_head, n_kv, legal)) for _ in scores]
    best = min(cost(a, 0) + cost(b, 1) for a, b in product(*every) if 2 * n_head - len(a) - len(b) == removed)
    assert sum(cost(heads.query, layer) for layer, heads in enumerate(kept)) == best


def test_auto_keeps_to_what_the_engine_runs():
    scores = [[float((7 * head + 3 * layer) % 11) for head in range(32)] for layer in range(4)]
    sizes = [32] * 4, [8] * 4
    for fraction in (0.1, 0.3, 0.5):
        k_quants = choose(scores, *sizes, Aim(fraction, "auto"), Rules(head_dim=64, k_quants=True))
        assert all(len(heads.query) % 4 == 0 and len(heads.query) % len(heads.kv) == 0 for heads in k_quants)
        cluster = choose(scores, *sizes, Aim(max(fraction, 0.2), "auto", "uniform"), Rules("distributed-llama", 64, nodes=4))
        assert {(len(heads.query), len(heads.kv)) for heads in cluster}.pop()[1] in (4, 8)
    with pytest.raises(BadPlan, match="one head count for all layers"):
        choose(scores, *sizes, Aim(0.3, "auto"), Rules("distributed-llama"))
    with pytest.raises(BadPlan, match="--nodes concerns distributed-llama only"):
        choose(scores, *sizes, Aim(0.3, "auto"), Rules("llama.cpp", nodes=2))


@pytest.mark.parametrize(("heads_of_32", "counts"), [(1.6, {1, 2}), (3, {3}), (5, {5}), (8, {8}), (13, {13}), (16, {16})])
def test_the_same_share_of_every_layer_is_the_papers_table(heads_of_32, counts):
    scores = [[float((7 * head + 3 * layer) % 11) for head in range(32)] for layer in range(32)]
    kept = choose(scores, [32] * 32, [8] * 32, Aim(heads_of_32 / 32, "ragged", "layer"))
    assert {32 - len(heads.query) for heads in kept} == counts
    assert 1024 - sum(len(heads.query) for heads in kept) == round(heads_of_32 * 32)


def test_a_layer_may_lose_all_attention_only_where_that_is_asked_for():
    scores = [[0.0] * 4, [9.0] * 4]
    assert choose(scores, [4, 4], [2, 2], Aim(0.5, "groups", attention_free=True))[0].query == ()
    assert choose(scores, [4, 4], [2, 2], Aim(0.5, "groups"))[0].query
