"""PyTorch as an engine of evaluation: a whole prefix tree in one forward pass, each node attending to its ancestors."""

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor

from epi_surgery.evaluate.engine import Floats, Limits
from epi_surgery.evaluate.prefix_tree import ROOT, PrefixTree


class TorchEngine:
    """A causal language model of transformers, or one cut in PyTorch, with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, limits: Limits) -> None:
        self.name = f"transformers {transformers.__version__}, {str(next(model.parameters()).dtype).removeprefix('torch.')}"
        self.limits, self._model, self._tokenizer = limits, model, tokenizer
        self.bos: int | None = tokenizer.bos_token_id

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special ones."""
        found: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return found

    def text_of(self, tokens: Sequence[int]) -> str:
        """The tokens as text."""
        return str(self._tokenizer.decode(list(tokens)))

    def log_probs(self, tree: PrefixTree, nodes: Sequence[int]) -> Floats:
        """ln p(token of the node | its ancestors)."""
        sources = sorted({tree.parents[node] for node in nodes})
        row = {source: i for i, source in enumerate(sources)}
        logits = self._forward(tree, sources)
        chosen = logits[[row[tree.parents[node]] for node in nodes], [tree.tokens[node] for node in nodes]]
        norms = logits.logsumexp(dim=-1)[[row[tree.parents[node]] for node in nodes]]
        return (chosen - norms).numpy()  # type: ignore[no-any-return]

    def logits(self, tree: PrefixTree, nodes: Sequence[int]) -> Floats:
        """What follows each node, (node, vocabulary)."""
        return self._forward(tree, nodes).numpy()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Nothing is held outside this process."""

    @torch.inference_mode()
    def _forward(self, tree: PrefixTree, nodes: Sequence[int]) -> Tensor:
        device = self._model.get_input_embeddings().weight.device
        states = self._model.model(
            input_ids=torch.tensor([tree.tokens], device=device),
            attention_mask=None if _is_chain(tree) else ancestors(tree).to(device)[None, None],
            position_ids=torch.tensor([tree.depths], device=device),
            use_cache=False,
        ).last_hidden_state
        logits: Tensor = self._model.lm_head(states[0, list(nodes)])
        return logits.float().cpu()


def ancestors(tree: PrefixTree) -> Tensor:
    """(node, node), True where the column is the row's ancestor or the row itself."""
    seen = torch.eye(len(tree.tokens), dtype=torch.bool)
    for node, parent in enumerate(tree.parents):
        if parent != ROOT:
            seen[node] |= seen[parent]
    return seen


def _is_chain(tree: PrefixTree) -> bool:
    return all(parent == node - 1 for node, parent in enumerate(tree.parents))
