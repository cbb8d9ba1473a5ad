"""AttnLRP over all prefixes of a sentence: one backward pass against one per prefix, in CPU seconds.

python tests/bench/prefix_relevance.py model.gguf --text novel.txt --tokens 16
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from epi_surgery.model import load
from epi_surgery.model.tokens import draw_windows, read_text, token_ids, tokenizer_of
from epi_surgery.rank.attnlrp import Relevance, by_prefixes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=16)
    options = parser.parse_args()
    loaded = load(options.model)
    ids = token_ids(tokenizer_of(loaded.source), read_text(options.text))
    window = draw_windows(ids, options.tokens, options.tokens, 0, str(options.text))[0]

    def at_once() -> list[torch.Tensor]:
        relevance = Relevance(loaded)
        relevance.propagate(window, range(1, len(window) + 1))
        return relevance.signed

    at_once()  # the first pass allocates what later ones reuse
    once, once_s = timed(at_once)
    loop, loop_s = timed(lambda: by_prefixes(loaded, window))
    apart = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(once, loop, strict=True))
    print(
        f"{options.tokens} tokens: {loop_s:.2f} s prefix by prefix, {once_s:.2f} s at once: {loop_s / once_s:.1f} times as fast"
    )
    print(f"largest difference relative to a layer's largest relevance: {apart:.1e}")


def timed(work: Callable[[], list[torch.Tensor]]) -> tuple[list[torch.Tensor], float]:
    """What it returns, and the CPU seconds it took: unlike wall time they hardly depend on who else is busy."""
    started = time.process_time()
    found = work()
    return found, time.process_time() - started


if __name__ == "__main__":
    main()
