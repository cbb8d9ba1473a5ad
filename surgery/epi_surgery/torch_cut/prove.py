"""The proof in PyTorch: transformers' own attention with heads silenced against the smaller projections, in float32."""

import gc
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from epi_surgery.model import load as load_donor
from epi_surgery.model.gates import masked
from epi_surgery.plan import Plan
from epi_surgery.progress import Bar
from epi_surgery.prove import Proof, checked
from epi_surgery.torch_cut.checkpoint import load

_N_PROMPT, _N_DECODE = 20, 8


def prove(donor: Path, plan: Plan, cut: Path, bar: Bar) -> Proof:
    """Compare prefill and cached decoding of both; raises ProofFailed where they differ, or the control does not."""
    with bar("proving", 3) as advance, torch.inference_mode():
        loaded = load_donor(donor, torch.float32)
        prompt = spread(loaded.model.config.vocab_size, _N_PROMPT)
        with masked(loaded.layers, plan.layers):
            tokens, twin = logits_of(loaded.model, prompt, None)
        advance(1)
        _, control = logits_of(loaded.model, prompt, tokens)
        del loaded
        gc.collect()
        advance(1)
        _, pruned = logits_of(load(cut, torch.float32), prompt, tokens)
        advance(1)
    distances = [float((other - pruned).abs().max()) for other in (twin, control)]
    return checked(Proof(_N_PROMPT, _N_DECODE, *distances))


def spread(n_vocab: int, n_tokens: int) -> Tensor:
    """A prompt of tokens spread over the vocabulary, (1, token)."""
    return torch.tensor([[(7919 * i) % n_vocab for i in range(1, n_tokens + 1)]])


def logits_of(model: Any, prompt: Tensor, forced: Tensor | None) -> tuple[Tensor, Tensor]:
    """Greedy (or `forced`) continuation and the logits after every token, the prompt at once and the rest one by one."""
    found = model(prompt, use_cache=True)
    tokens, rows, cache = [], [found.logits[0]], found.past_key_values
    for step in range(_N_DECODE):
        token = rows[-1][-1].argmax() if forced is None else forced[step]
        tokens.append(token)
        found = model(token.view(1, 1), past_key_values=cache, use_cache=True)
        rows.append(found.logits[0])
    return torch.stack(tokens), torch.cat(rows)
