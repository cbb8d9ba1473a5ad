"""How a context of the engine is made; what has to be equal for two runs to be comparable."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import HookrunError

BATCH_TOKENS = 512
"""Prompt tokens that go through the model in one computation, unless told otherwise."""

CACHE_TYPES = {"f32": 0, "f16": 1, "bf16": 30, "q8_0": 8, "q4_0": 2, "q4_1": 3, "iq4_nl": 20, "q5_0": 6, "q5_1": 7}
"""Types that keys and values can be kept in, by their number in ggml (ggml.h, enum ggml_type)."""

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
"""llama.h, enum llama_flash_attn_type."""

MOST_SEQUENCES = 256
"""llama-cparams.h, LLAMA_MAX_SEQ."""

Row = int | tuple[int | None, ...]
"""What goes into all sequences at once: one token for each, None where a sequence gets none, or a single one that all get."""

_PLAIN = frozenset({"f32", "f16", "bf16"})


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """Tokens of context of each sequence; threads (the same ones run prompts and single tokens); `batch` tokens of prompt per
    computation, over all `sequences` that are computed side by side.
    """

    tokens: int
    threads: int
    batch: int = BATCH_TOKENS
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attn: str = "auto"
    sequences: int = 1

    def check(self) -> None:
        """Refuse what the engine answers without a reason."""
        if self.cache_type_v not in _PLAIN and self.flash_attn == "off":
            raise HookrunError(f"--cache-type-v {self.cache_type_v} needs flash attention; leave out --flash-attn off")
        if self.sequences > MOST_SEQUENCES:
            raise HookrunError(f"--parallel {self.sequences}: llama.cpp computes at most {MOST_SEQUENCES} sequences side by side")
        if self.sequences > self.batch:
            raise HookrunError(
                f"--parallel {self.sequences} needs a --batch of at least {self.sequences}, a token of each sequence"
            )

    @property
    def chunk(self) -> int:
        """Return the tokens of prompt of each sequence per computation."""
        return self.batch // self.sequences
