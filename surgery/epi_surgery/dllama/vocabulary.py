"""A GGUF's vocabulary in the order that distributed-llama insists on: ordinary tokens first, special ones behind.

There, ids below `bos_id` are ordinary and all others special. SmolLM2's seventeen specials are ids 0 to 16, which would leave
one ordinary token; so the vocabulary is rotated, embedding and output rows with it, and `bos_id` is the first special one.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.metadata import Entry, entry_value

_CONTROL, _USER_DEFINED = 3, 4


@dataclass(frozen=True)
class Vocabulary:
    """Tokens as bytes in their new order; `order` gives the old id for each new one."""

    tokens: tuple[bytes, ...]
    scores: tuple[float, ...]
    order: tuple[int, ...]
    first_special: int
    eos: tuple[int, ...]
    adds_bos: bool
    chat_template: bytes


def vocabulary_of(model: GgufFile) -> Vocabulary:
    """Read and reorder; raises UnsupportedModel for a tokenizer that is neither byte-level BPE nor SentencePiece."""
    kind = model.text("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        raise UnsupportedModel(f"{model.path}: tokenizer '{kind}' cannot be exported; only 'gpt2' and 'llama' can")
    texts = _strings(model, "tokenizer.ggml.tokens")
    types = _numbers(model, "tokenizer.ggml.token_type") or (1,) * len(texts)
    special = [i for i, kind_of in enumerate(types) if kind_of in (_CONTROL, _USER_DEFINED)]
    special_ids = set(special)
    order = [i for i in range(len(texts)) if i not in special_ids] + special
    place = {old: new for new, old in enumerate(order)}
    first = len(texts) - len(special)
    bos, eos = (model.number(f"tokenizer.ggml.{name}_token_id", -1) for name in ("bos", "eos"))
    adds = entry_value(model.entries["tokenizer.ggml.add_bos_token"]) if "tokenizer.ggml.add_bos_token" in model.entries else True
    alphabet = _byte_letters()
    raw = [_bytes(texts[old], kind, old in special_ids, alphabet) for old in order]
    stored = _numbers(model, "tokenizer.ggml.scores")
    scores = [float(stored[old]) for old in order] if kind == "llama" and stored else [-float(new) for new in range(len(order))]
    ends = {place[eos]} if eos in place else set()
    template = model.text("tokenizer.chat_template").encode()
    adds_bos = bool(adds) and place.get(bos) == first
    return Vocabulary(tuple(raw), tuple(scores), tuple(order), first, tuple(sorted(ends)), adds_bos, template)


def tokenizer_file(vocabulary: Vocabulary) -> bytes:
    """The `.t` file: magic 0x567124, header of integer pairs, template, end tokens, then score, length and bytes per token."""
    tokens, template = vocabulary.tokens, vocabulary.chat_template
    pairs = {0: 1, 1: len(tokens), 2: max(map(len, tokens)), 3: vocabulary.first_special, 9: len(vocabulary.eos)}
    pairs |= {10: int(vocabulary.adds_bos), **({7: len(template)} if template else {})}
    body = b"".join(struct.pack("<ii", *pair) for pair in pairs.items())
    parts = [struct.pack("<ii", 0x567124, 8 + len(body)), body, template]
    parts += [struct.pack("<i", eos) for eos in vocabulary.eos]
    for token, score in zip(tokens, vocabulary.scores, strict=True):
        parts += [struct.pack("<fI", score, len(token)), token]
    return b"".join(parts)


def _bytes(text: str, kind: str, special: bool, alphabet: dict[str, int]) -> bytes:
    if special:
        return text.encode()
    if kind == "llama":
        if len(text) == 6 and text.startswith("<0x"):
            return bytes([int(text[3:5], 16)])
        return text.replace("▁", " ").encode() or b"\0"
    return bytes(alphabet[letter] for letter in text) if all(letter in alphabet for letter in text) else text.encode()


def _byte_letters() -> dict[str, int]:
    """GPT-2 writes each byte as one visible letter: printable ones as themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(hidden)}


def _strings(model: GgufFile, key: str) -> list[str]:
    raw = _entry(model, key).raw
    (count,) = struct.unpack_from("<Q", raw, 4)
    found, at = [], 12
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", raw, at)
        found.append(raw[at + 8 : at + 8 + length].decode("utf-8", errors="replace"))
        at += 8 + length
    return found


def _numbers(model: GgufFile, key: str) -> Sequence[float]:
    value = entry_value(model.entries[key]) if key in model.entries else None
    return value if isinstance(value, tuple) else ()


def _entry(model: GgufFile, key: str) -> Entry:
    if key not in model.entries:
        raise UnsupportedModel(f"{model.path}: the key {key} is missing: a model without a vocabulary cannot be exported")
    return model.entries[key]
