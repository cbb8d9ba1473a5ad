"""Where the query heads of unequal groups stand, so that one decoding step needs no gather and no scatter. Pure integers.

With the group folded into the query dimension, attention takes queries as (KV head, place, width): equally many places for
each KV head. That array need not be filled: a strided view on the projection's own output does, if each group's heads lie
inside its window of `height` rows and windows begin `stride` rows apart. Places of a window that are not the group's own
(other heads, neighbouring keys or values) are computed and ignored; no row of the projection is wasted.

    groups of 2, 3, 1         rows      k k k | a a b b b c | v v v        height 3, stride 3, start -1
                              windows        [. a a|b b b|c .  .]

The output is (KV head, place); where the own places lie side by side, as here, the output projection reads them as one
slice, else through an index. KV heads may stand in any order, so an order is sought for which this works out: always for up
to three KV heads, since the largest group has no idle place and at most two others stand at the ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from epi_surgery.gqa import LayerHeads, kv_of

# KV head -> its query heads, in order; empty for a layer without attention.
Groups = Mapping[int, tuple[int, ...]]


@dataclass(frozen=True)
class Places:
    """`kv` and `query` are original heads in the order of the rows; row counts from the first query head.

    Group i owns rows [start + i*stride, start + i*stride + height); `used` are its own places in the flattened output,
    one per query head in the order of the rows.
    """

    kv: tuple[int, ...]
    query: tuple[int, ...]
    sizes: tuple[int, ...]
    start: int
    stride: int
    height: int

    @property
    def used(self) -> tuple[int, ...]:
        """Positions in the output (KV head, place), flattened, of each query head."""
        found = []
        for group, first in enumerate(self._firsts()):
            found += [group * self.height + first + i - self._window(group) for i in range(self.sizes[group])]
        return tuple(found)

    @property
    def owners(self) -> tuple[int, ...]:
        """For each query head the position of its KV head."""
        return tuple(group for group, size in enumerate(self.sizes) for _ in range(size))

    @property
    def before(self) -> int:
        """Rows in front of the first query head that some window reaches into."""
        return max(0, -self.start)

    @property
    def behind(self) -> int:
        """Rows after the last query head that some window reaches into."""
        return max(0, self._window(len(self.sizes) - 1) + self.height - len(self.query))

    def _window(self, group: int) -> int:
        return self.start + group * self.stride

    def _firsts(self) -> list[int]:
        return [0, *accumulate(self.sizes)][:-1]


def groups_of(layer: LayerHeads, n_head: int, n_kv: int) -> Groups:
    """The kept heads of an original layer, by the KV head they read."""
    return {kv: tuple(head for head in layer.query if kv_of(head, n_head, n_kv) == kv) for kv in layer.kv}


def renumbered(groups: Groups) -> Groups:
    """The same groups counted from zero, as they stand one after another in a file that holds nothing else."""
    firsts = [0, *accumulate(map(len, groups.values()))]
    return {kv: tuple(range(firsts[kv], firsts[kv + 1])) for kv in range(len(groups))}


def arrange(groups: Groups) -> Places:
    """The places of a layer's heads, for a projection with as many rows before and behind the queries as it has KV heads.

    Of all arrangements tried the one with the fewest idle places, with one slice before one with an index.
    """
    found = [places for order in _orders(groups) for places in _fits(order, groups) if _reach(places) <= len(groups)]
    return min(found, key=lambda places: (not is_slice(places.used), places.height, places.stride, places.kv))


def is_slice(positions: Sequence[int]) -> bool:
    """Whether the positions are consecutive."""
    return list(positions) == list(range(positions[0], positions[0] + len(positions)))


def _reach(places: Places) -> int:
    return max(places.before, places.behind)


def _orders(groups: Groups) -> Iterator[tuple[int, ...]]:
    """As they are; the two smallest at the ends; and large and small in turns, so that sums stay near the mean."""
    by_size = sorted(groups, key=lambda kv: (len(groups[kv]), kv))
    yield tuple(sorted(groups))
    if len(groups) > 2:
        yield (by_size[0], *by_size[2:], by_size[1])
    mean, rest, order, total = sum(map(len, groups.values())) / len(groups), list(by_size), list[int](), 0
    while rest:
        wanted = (len(order) + 1) * mean - total
        order.append(min(rest, key=lambda kv: (abs(len(groups[kv]) - wanted), kv)))
        total += len(groups[order[-1]])
        rest.remove(order[-1])
    yield tuple(order)


def _fits(order: Sequence[int], groups: Groups) -> Iterator[Places]:
    """Every start, stride and height that holds each group in its window; heights as small as the stride allows."""
    sizes = tuple(len(groups[kv]) for kv in order)
    ends = list(accumulate(sizes))
    query = tuple(head for kv in order for head in groups[kv])
    for stride in range(1, max(sizes) + 1):
        latest = min(end - size - i * stride for i, (end, size) in enumerate(zip(ends, sizes, strict=True)))
        height = max(max(sizes), max(end - i * stride for i, end in enumerate(ends)) - latest)
        yield Places(tuple(order), query, sizes, latest, stride, height)
