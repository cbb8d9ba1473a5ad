"""Which query head reads which key/value head: grouped-query attention in pure integers.

Ainslie et al. 2023, "GQA": `n_head` query heads share `n_kv` key/value heads, `group = n_head // n_kv` to each, and an
engine pairs them by position alone: query head `h` reads key/value head `h // group`. Nine on three:

    query   0 1 2 | 3 4 5 | 6 7 8          n_head = 9
            \\|/     \\|/     \\|/
    kv       0       1       2             n_kv = 3, group = 3

After a cut an engine counts again from zero with the *new* numbers, so a cut is right only if every surviving
key/value head keeps equally many of its own query heads. Two layouts do that by construction, the third needs an engine of
its own (or zero heads where the dots are: they compute nothing, and cost what they weigh):

    balanced: one head out of each group    query   0 . 2 | 3 4 . | . 7 8     n_head 6, n_kv 3, group 2
                                            kv       0       1       2

    groups: a whole group                   query   0 1 2 | . . . | 6 7 8     n_head 6, n_kv 2, group 3
                                            kv       0       .       2

    ragged: any heads                       query   0 . 2 | 3 . . | 6 7 8     n_head 6, n_kv 3, groups of 2, 1, 3
                                            kv       0       1       2

In a balanced cut heads 0 2 3 4 7 8 stand at 0..5 afterwards, and 5 // 2 = 2 is still the old group of head 8.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from epi_surgery.errors import SurgeryError


@dataclass(frozen=True)
class LayerHeads:
    """The heads of one layer that stay, as indices into the original layer, ascending."""

    query: tuple[int, ...]
    kv: tuple[int, ...]


def group_size(n_head: int, n_kv: int) -> int:
    """Query heads per key/value head; raises SurgeryError where the engine's pairing by position would not work out."""
    if n_head <= 0 or n_kv <= 0:
        raise SurgeryError(f"a layer needs at least one query and one KV head, not {n_head} and {n_kv}")
    if n_head % n_kv:
        raise SurgeryError(f"{n_head} query heads cannot be shared evenly by {n_kv} KV heads: llama.cpp would abort")
    return n_head // n_kv


def kv_of(head: int, n_head: int, n_kv: int) -> int:
    """The key/value head that query head `head` reads."""
    group = group_size(n_head, n_kv)
    if not 0 <= head < n_head:
        raise SurgeryError(f"query head {head} does not exist in a layer of {n_head}")
    return head // group


def heads_of(kv: int, n_head: int, n_kv: int) -> range:
    """The query heads that read key/value head `kv`."""
    group = group_size(n_head, n_kv)
    if not 0 <= kv < n_kv:
        raise SurgeryError(f"KV head {kv} does not exist in a layer of {n_kv}")
    return range(kv * group, (kv + 1) * group)


def all_heads(n_head: int, n_kv: int) -> LayerHeads:
    """A layer that nothing is cut from (also one without attention: 0 and 0)."""
    return LayerHeads(tuple(range(n_head)), tuple(range(n_kv)))


def keep(query: Iterable[int], n_head: int, n_kv: int) -> LayerHeads:
    """The layer left when exactly the `query` heads stay, with the key/value heads they read.

    Raises SurgeryError where the surviving groups differ in size, since the engine would then pair heads wrongly.
    """
    layer = keep_any(query, n_head, n_kv)
    sizes = set(group_sizes(layer, n_head, n_kv))
    if len(sizes) > 1:
        raise SurgeryError(f"the KV groups that stay keep {min(sizes)} to {max(sizes)} query heads; all must keep equally many")
    return layer


def keep_any(query: Iterable[int], n_head: int, n_kv: int) -> LayerHeads:
    """As `keep`, with groups of any size: for an engine that knows raggedness, or a file in which zeros fill the gaps."""
    kept = tuple(sorted(set(query)))
    return LayerHeads(kept, tuple(sorted({kv_of(head, n_head, n_kv) for head in kept})))


def group_sizes(layer: LayerHeads, n_head: int, n_kv: int) -> tuple[int, ...]:
    """Query heads left to each KV head that stays."""
    owners = [kv_of(head, n_head, n_kv) for head in layer.query]
    return tuple(owners.count(kv) for kv in layer.kv)


def is_paired(layer: LayerHeads, n_head: int, n_kv: int) -> bool:
    """Whether the engine's arithmetic on the cut layer pairs each query head with the key/value head it had before."""
    if not layer.kv or len(layer.query) % len(layer.kv):
        return False
    group = len(layer.query) // len(layer.kv)
    return all(layer.kv[position // group] == kv_of(head, n_head, n_kv) for position, head in enumerate(layer.query))


def draw(layer: LayerHeads, n_head: int, n_kv: int) -> list[str]:
    """Two lines of text: query heads in their groups and the KV heads below, a dot where one was removed."""
    if n_head == 0:
        return ["query   none (a layer without attention)"]
    width = len(str(n_head - 1))
    cells = [
        " ".join(str(head if head in layer.query else ".").rjust(width) for head in heads_of(kv, n_head, n_kv))
        for kv in range(n_kv)
    ]
    names = [str(kv if kv in layer.kv else ".").center(len(cell)) for kv, cell in enumerate(cells)]
    return ["query   " + " | ".join(cells), "kv      " + "   ".join(names).rstrip()]
