"""Minimal pairs through an engine: which of the two sentences it thinks likelier."""

from collections.abc import Callable, Sequence

import numpy as np

from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.blimp import MinimalPair, sentences
from epi_surgery.evaluate.engine import Engine
from epi_surgery.evaluate.prefix_tree import pack


def judge(engine: Engine, pairs: Sequence[MinimalPair], bos: bool, advance: Callable[[int], None]) -> list[bool]:
    """For each pair whether the acceptable sentence is the likelier; `advance` gets the pairs of each step.

    Without `bos` nothing precedes a sentence's first token, which then has no probability and is not scored.
    """
    groups = _token_pairs(engine, pairs, bos)
    verdicts: list[bool] = []
    for members, tree in pack(groups, engine.limits.nodes, engine.limits.sequences):
        tails = [_tails(groups[group], tree.paths[2 * i : 2 * i + 2]) for i, group in enumerate(members)]
        nodes = [node for pair in tails for tail in pair for node in tail]
        values = iter(engine.log_probs(tree, nodes).astype(np.float64).tolist())
        for good, bad in tails:
            verdicts.append(sum(next(values) for _ in good) > sum(next(values) for _ in bad))
        advance(len(members))
    return verdicts


def _token_pairs(engine: Engine, pairs: Sequence[MinimalPair], bos: bool) -> list[tuple[list[int], list[int]]]:
    if bos and engine.bos is None:
        raise SurgeryError("this model has no token that begins a text; evaluate with --no-bos")
    first = [engine.bos] if bos and engine.bos is not None else []
    tokens = [first + ids for ids in engine.tokenize(sentences(pairs))]
    return list(zip(tokens[::2], tokens[1::2], strict=True))


def _tails(pair: tuple[list[int], list[int]], paths: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """The nodes of either sentence behind what both begin with; never a root."""
    shared = next((i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), min(map(len, pair)))
    start = max(shared, 1)
    return list(paths[0][start:]), list(paths[1][start:])
