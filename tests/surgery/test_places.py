"""Where heads stand for one decoding step: windows that hold each group, views that stay inside the projection's rows."""

from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.torch_cut.places import arrange, groups_of, is_slice, renumbered

sizes = st.lists(st.integers(1, 6), min_size=1, max_size=9)


def groups(counts):
    return renumbered({kv: tuple(range(count)) for kv, count in enumerate(counts)})


@given(sizes)
def test_every_head_lies_in_its_groups_window_and_every_window_in_the_rows(counts):
    before = groups(counts)
    places = arrange(before)
    assert sorted(places.query) == list(range(sum(counts))) and sorted(places.kv) == list(range(len(counts)))
    row = 0
    for i, kv in enumerate(places.kv):
        window = range(places.start + i * places.stride, places.start + i * places.stride + places.height)
        for head in before[kv]:
            assert places.query[row] == head and row in window and places.owners[row] == i
            assert places.used[row] == i * places.height + row - window.start
            row += 1
        # Rows of keys stand before the queries, rows of values behind: one of each for every KV head.
        assert window.start >= -len(counts) and window.stop <= sum(counts) + len(counts)
    assert places.before <= len(counts) and places.behind <= len(counts)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_three_kv_heads_never_need_a_gather_nor_an_idle_place_more(counts):
    places = arrange(groups(counts))
    assert is_slice(places.used) and places.height == max(counts)


@given(st.integers(2, 9), st.integers(1, 6))
def test_equal_groups_stand_as_they_are(n_kv, size):
    places = arrange(groups([size] * n_kv))
    assert (places.start, places.stride, places.height) == (0, size, size)
    assert places.kv == tuple(range(n_kv)) and places.query == places.used == tuple(range(n_kv * size))


def test_groups_of_a_plan_are_the_original_heads():
    from epi_surgery.gqa import keep_any

    assert groups_of(keep_any([0, 2, 7], 9, 3), 9, 3) == {0: (0, 2), 2: (7,)}
