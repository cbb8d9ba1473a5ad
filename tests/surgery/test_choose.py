"""Choosing heads: counts, order and refusals, for any scores and any shape."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from epi_surgery.choose import Aim, choose, targeted
from epi_surgery.errors import BadPlan
from epi_surgery.gqa import heads_of, is_paired, kv_of


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
    st.sampled_from(["balanced", "groups"]),
    st.just(False),
    st.sampled_from(["all", "early", "late"]),
    st.sets(st.integers(0, 3)).map(lambda layers: tuple(sorted(layers))),
)


@given(models(), aims)
def test_every_layer_stays_runnable_and_sorted(model, aim):
    _, n_head, n_kv = model
    for layer, heads in enumerate(chosen(model, aim)):
        assert is_paired(heads, n_head[layer], n_kv[layer])
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
        else:
            assert len(heads.query) == len(heads.kv) * (n_head[layer] // n_kv[layer])


@given(models(), aims)
def test_the_share_lands_within_half_a_step_of_the_aim(model, aim):
    _, n_head, n_kv = model
    kept = chosen(model, aim)
    goal = aim.fraction * sum(n_head[layer] for layer in targeted(aim.target, len(n_head)))
    removed = sum(n_head) - sum(len(heads.query) for heads in kept)
    step = n_kv[0] if aim.layout == "balanced" else n_head[0] // n_kv[0]
    assert abs(removed - goal) <= step / 2 + 1e-9


@given(models(), st.sampled_from(["balanced", "groups"]), st.floats(0.05, 0.95))
def test_uniform_takes_the_same_count_everywhere(model, layout, fraction):
    kept = chosen(model, Aim(fraction, layout, uniform=True))
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


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize(
    ("fraction", "word"),
    [(0.0, "nothing"), (-1.0, "nothing"), (1.0, "everything"), (0.01, "removes nothing"), (0.99, "at most 0.75")],
)
def test_fractions_that_cannot_be_met_are_refused_with_what_can(fraction, word, uniform):
    message = refusal(Aim(fraction, "groups", uniform))
    assert word in message or (word == "at most 0.75" and "at most 0.75" in message)


def test_contradictions_are_refused():
    assert "cannot go with protected" in refusal(Aim(0.5, "groups", True, protected=(0,)))
    assert "cannot go with protected" in refusal(Aim(0.5, "groups", True, target="early"))
    assert "layer 9 cannot be protected" in refusal(Aim(0.5, "groups", protected=(9,)))
    assert "try the other layout" in refusal(Aim(0.5, "balanced", True), n_head=4, n_kv=4)
    assert "try the other layout" in refusal(Aim(0.5, "groups"), n_head=8, n_kv=1)


def test_protecting_everything_is_refused():
    assert "nothing can be removed" in refusal(Aim(0.5, "groups", protected=(0, 1, 2, 3)))


def test_quarters_of_32_layers_are_those_of_the_paper():
    assert list(targeted("early", 32)) == list(range(8))
    assert list(targeted("late", 32)) == list(range(24, 32))


def test_kv_of_chosen_heads_is_kept():
    kept = choose(SCORES, [8] * 4, [4] * 4, Aim(0.5, "balanced", True))
    assert kept[0].query == (1, 3, 5, 7)
    assert {kv_of(head, 8, 4) for head in kept[0].query} == set(kept[0].kv)
