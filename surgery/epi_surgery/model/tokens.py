"""Text to windows of tokens, for calibration and for perplexity."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.model.load import Loaded
from epi_surgery.model.source import Source


@dataclass(frozen=True)
class Sample:
    """Windows of token ids (window, token), all of one length, and where they come from."""

    windows: Tensor
    origin: dict[str, str | int]


def tokenizer_of(source: Source) -> PreTrainedTokenizerBase:
    """The model's own tokenizer, from its folder or out of its GGUF."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        if source.is_gguf:
            return _gguf_tokenizer(source.path)
        return AutoTokenizer.from_pretrained(source.path, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SurgeryError(f"{source.path}: its tokenizer cannot be loaded: {str(error).strip().splitlines()[0]}") from error


def _gguf_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    # transformers has no model `deci`, which is what a cut file may be; for its tokens none is needed.
    with GgufFile(path) as file:
        reader = PreTrainedTokenizerFast if file.text("general.architecture") == "deci" else AutoTokenizer
    return reader.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)


def read_text(path: Path) -> str:
    """The file's text; raises SurgeryError where it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SurgeryError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    except UnicodeDecodeError as error:
        raise SurgeryError(f"{path}: not UTF-8 text (byte {error.start:,} cannot be decoded); convert it first") from error


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """All tokens of a text without special ones, (token,)."""
    return torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=torch.long)


def sample_text(tokenizer: PreTrainedTokenizerBase, path: Path, n_tokens: int, window: int, seed: int) -> Sample:
    """Windows of `window` tokens from random places of a file, not overlapping, `n_tokens` together (rounded down)."""
    text = read_text(path)
    ids = token_ids(tokenizer, text)
    origin: dict[str, str | int] = {"text": path.name, "text_sha256": hashlib.sha256(text.encode()).hexdigest()}
    return Sample(draw_windows(ids, n_tokens, window, seed, str(path)), origin)


def draw_windows(ids: Tensor, n_tokens: int, window: int, seed: int, name: str) -> Tensor:
    """Random windows out of a long row of tokens, each place once, in the order of the text."""
    wanted, there = max(1, n_tokens // window), len(ids) // window
    if wanted > there:
        raise SurgeryError(
            f"{name}: the text has {len(ids):,} tokens, too few for {wanted} windows of {window}; "
            "give a longer text, or ask for fewer tokens (or steps) or a smaller --window"
        )
    places = torch.randperm(there, generator=torch.Generator().manual_seed(seed))[:wanted].sort().values
    return ids[: there * window].view(there, window)[places]


@torch.no_grad()
def sample_model(loaded: Loaded, n_tokens: int, window: int, seed: int) -> Sample:
    """Windows that the model itself writes from its first token at temperature 1: calibration without any text."""
    start = loaded.model.config.bos_token_id
    if start is None:
        raise SurgeryError("this model names no first token (bos_token_id) to write from; give a text with --text")
    n_windows = max(1, n_tokens // window)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        prompt = torch.full((n_windows, 1), int(start), device=loaded.device)
        windows = loaded.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            min_new_tokens=window - 1, max_new_tokens=window - 1, pad_token_id=int(start),
        )  # fmt: skip
    return Sample(windows.cpu(), {"text": "sampled from the model itself, temperature 1"})
