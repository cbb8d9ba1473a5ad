"""Does a cut model still write? A few greedy continuations, how much they repeat, and a verdict.

Greedy text of a small model repeats itself somewhat; the verdict therefore compares with the baseline where one is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epi_surgery.evaluate.engine import Engine
from epi_surgery.evaluate.prefix_tree import grow

PROMPTS = ("The capital of France is", "Once upon a time there was", "To boil an egg, first", "Energy is measured in")
# Of three-token runs that occurred before; text by people stays far below, a model in a loop far above.
_LOOPING, _N_NEW = 0.6, 32
# A perplexity this many times the baseline's is that of a model that lost its language, not of one that lost a little.
_BROKEN = 4.0


@dataclass(frozen=True)
class Coherence:
    """What the model wrote after each prompt, the share of repeated three-token runs, and what that means."""

    continuations: tuple[str, ...]
    repeated: float
    verdict: str


def coherence(engine: Engine, perplexity_ratio: float | None, n_new: int = _N_NEW) -> Coherence:
    """Continue every prompt greedily; `perplexity_ratio` is the model's to the baseline's, None where unknown."""
    written = [greedy(engine, tokens, n_new) for tokens in engine.tokenize(PROMPTS)]
    repeated = sum(repeated_share(tokens) for tokens in written) / len(written)
    return Coherence(tuple(engine.text_of(tokens) for tokens in written), repeated, verdict(repeated, perplexity_ratio))


def greedy(engine: Engine, prompt: Sequence[int], n_new: int) -> list[int]:
    """The likeliest next token, again and again."""
    tokens = list(prompt)
    for _ in range(n_new):
        tree = grow([tokens])
        tokens.append(int(engine.logits(tree, tree.paths[0][-1:])[0].argmax()))
    return tokens[len(prompt) :]


def verdict(repeated: float, perplexity_ratio: float | None) -> str:
    """`coherent`, `repetitive` (goes round in circles) or `broken` (its perplexity is a multiple of the baseline's)."""
    if perplexity_ratio is not None and perplexity_ratio > _BROKEN:
        return "broken"
    return "repetitive" if repeated > _LOOPING else "coherent"


def repeated_share(tokens: Sequence[int], n: int = 3) -> float:
    """Share of n-grams that occurred before: near 0 for text, near 1 for a model that goes round in circles."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
