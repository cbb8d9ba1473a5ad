"""All ways a layout allows to thin out one layer, each with the best heads for it. Pure; no file, no engine.

A head's score is what its loss costs, so an option costs the sum of the scores that leave, and for given counts the best
choice is the one whose survivors score highest: in `balanced` the top of every group, in `groups` the top groups by their
sum, in `ragged` the top heads of the layer, and for `auto` (k groups with g heads each) the k groups whose own top g sum
to most, since groups do not compete for each other's heads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from epi_surgery.gqa import LayerHeads, all_heads, group_size, heads_of, keep, keep_any
from epi_surgery.rules import Rules


@dataclass(frozen=True)
class Option:
    """What stays of a layer, how many query heads leave, and what these scored together."""

    heads: LayerHeads
    n_removed: int
    cost: float

    @property
    def shape(self) -> tuple[int, int]:
        """Query and KV heads that stay."""
        return len(self.heads.query), len(self.heads.kv)


def options(scores: Sequence[float], n_head: int, n_kv: int, layout: str, attention_free: bool, rules: Rules) -> list[Option]:
    """Every option of a layer that loses something and that the engine runs; by removed count, then cost, then KV heads."""
    if n_head == 0:
        return []
    kept = [*_kept(scores, n_head, n_kv, layout, rules), *([LayerHeads((), ())] if attention_free else [])]
    found = [_option(scores, heads) for heads in kept if len(heads.query) < n_head]
    return sorted(found, key=lambda option: (option.n_removed, option.cost, option.shape[1]))


def untouched(n_head: int, n_kv: int) -> Option:
    """The option to leave a layer alone, which every engine runs."""
    return Option(all_heads(n_head, n_kv), 0, 0.0)


def _option(scores: Sequence[float], heads: LayerHeads) -> Option:
    gone = sorted(set(range(len(scores))) - set(heads.query))
    return Option(heads, len(gone), sum(scores[head] for head in gone))


def _kept(scores: Sequence[float], n_head: int, n_kv: int, layout: str, rules: Rules) -> Iterator[LayerHeads]:
    group = group_size(n_head, n_kv)
    if layout == "ragged" or (layout == "auto" and rules.engine == "torch"):
        ranked = sorted(range(n_head), key=lambda head: (scores[head], head))
        yield from (keep_any(ranked[n_removed:], n_head, n_kv) for n_removed in range(1, n_head))
    elif layout == "balanced":
        yield from (_best(scores, n_head, n_kv, n_kv, size) for size in range(1, group))
    elif layout == "groups":
        yield from (_best(scores, n_head, n_kv, count, group) for count in range(1, n_kv))
    else:
        yield from _runnable(scores, n_head, n_kv, rules)


def _runnable(scores: Sequence[float], n_head: int, n_kv: int, rules: Rules) -> Iterator[LayerHeads]:
    group = group_size(n_head, n_kv)
    # A layer that breaks a rule as it is cannot be asked to keep it.
    bound = rules.runs(n_head, n_kv)
    for count in range(1, n_kv + 1):
        for size in range(1, group + 1):
            if not bound or rules.runs(count * size, count):
                yield _best(scores, n_head, n_kv, count, size)


def _best(scores: Sequence[float], n_head: int, n_kv: int, count: int, size: int) -> LayerHeads:
    """The `count` groups with `size` heads each whose scores sum to most; of equals the later ones stay."""
    tops = [sorted(heads_of(kv, n_head, n_kv), key=lambda head: (scores[head], head))[-size:] for kv in range(n_kv)]
    stay = sorted(range(n_kv), key=lambda kv: (sum(scores[head] for head in tops[kv]), kv))[-count:]
    return keep([head for kv in stay for head in tops[kv]], n_head, n_kv)
