"""Token sequences as one tree in which every shared prefix stands once: what one forward pass computes for all of them.

    the cat sits .          the ─┬─ cat ── sits ── .
    the cat sit  .               │      └─ sit  ── .
    the dog sits .               └─ dog ── sits ── .

A node sees its ancestors and nothing else, at the position of its depth, so each path is computed exactly as if it were
alone. Pure integers; an engine gets nodes, parents and depths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ROOT = -1


@dataclass(frozen=True)
class PrefixTree:
    """Per node its token, its parent (ROOT for none; always an earlier node) and its depth; per sequence its nodes in order."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    def owners(self) -> list[list[int]]:
        """For each node the sequences that pass through it."""
        found: list[list[int]] = [[] for _ in self.tokens]
        for sequence, path in enumerate(self.paths):
            for node in path:
                found[node].append(sequence)
        return found


def grow(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """The tree of the given token sequences."""
    nodes: dict[tuple[int, int], int] = {}
    depths: list[int] = []
    paths = []
    for sequence in sequences:
        path, at = [], ROOT
        for depth, token in enumerate(sequence):
            if (at, token) not in nodes:
                nodes[at, token] = len(nodes)
                depths.append(depth)
            at = nodes[at, token]
            path.append(at)
        paths.append(tuple(path))
    return PrefixTree(tuple(token for _, token in nodes), tuple(parent for parent, _ in nodes), tuple(depths), tuple(paths))


def pack(groups: Sequence[Sequence[Sequence[int]]], max_nodes: int, max_sequences: int) -> Iterator[tuple[range, PrefixTree]]:
    """Trees of consecutive groups (such as pairs), each within the limits; yields which groups and their tree.

    A group that alone exceeds `max_nodes` comes alone.
    """
    start = 0
    while start < len(groups):
        stop, taken, seen = start, 0, set[tuple[int, ...]]()
        while stop < len(groups):
            grown = seen | {tuple(sequence[:end]) for sequence in groups[stop] for end in range(1, len(sequence) + 1)}
            taken += len(groups[stop])
            if stop > start and (len(grown) > max_nodes or taken > max_sequences):
                break
            seen, stop = grown, stop + 1
        yield range(start, stop), grow([sequence for group in groups[start:stop] for sequence in group])
        start = stop
