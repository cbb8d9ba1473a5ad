"""BLiMP: minimal pairs of an acceptable and an unacceptable sentence, 67 tests in 12 categories.

Warstadt et al. 2020, TACL 8:377-392. One .jsonl file per test, one pair per line with `sentence_good` and `sentence_bad`;
the data is the user's own and never a part of this package. A pair counts as correct where the acceptable sentence gets the
higher log-probability; what both sentences begin with adds the same to both and is not even computed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epi_surgery.errors import SurgeryError

# The data files selection restrictions apart; the paper's table counts them among argument structure.
_MERGED = {"s-selection": "argument_structure"}
_FIELDS = ("sentence_good", "sentence_bad", "linguistics_term")


@dataclass(frozen=True)
class MinimalPair:
    """`test` is the file's name without suffix, `category` the paper's."""

    test: str
    category: str
    good: str
    bad: str


def read_blimp(folder: Path, limit: int | None = None) -> list[MinimalPair]:
    """The first `limit` pairs of every test; raises SurgeryError naming the file and line that are not BLiMP's."""
    return [pair for file in files_of(folder) for pair in _read(file, limit)]


def files_of(folder: Path) -> list[Path]:
    """One file for each test; raises SurgeryError where there is none."""
    if not folder.is_dir():
        raise SurgeryError(f"{folder}: no such folder; --blimp takes the folder with BLiMP's .jsonl files")
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise SurgeryError(f"{folder}: no .jsonl file there; --blimp takes the folder with BLiMP's .jsonl files")
    return files


def _read(file: Path, limit: int | None) -> list[MinimalPair]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SurgeryError(f"{file}: not UTF-8 text (byte {error.start:,})") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return [_pair(file, number, line) for number, line in numbered[:limit]]


def _pair(file: Path, number: int, line: str) -> MinimalPair:
    try:
        body = json.loads(line)
    except ValueError as error:
        raise SurgeryError(f"{file}, line {number}: no valid JSON ({error})") from error
    texts = [body.get(name) for name in _FIELDS] if isinstance(body, dict) else []
    found = [text for text in texts if isinstance(text, str) and text]
    if len(found) != len(_FIELDS):
        raise SurgeryError(f"{file}, line {number}: a BLiMP pair has the texts {', '.join(_FIELDS)}")
    good, bad, category = found
    return MinimalPair(file.stem, _MERGED.get(category, category), good, bad)


@dataclass(frozen=True)
class Tally:
    """How many of how many."""

    correct: int
    n: int


def tally(names: Sequence[str], verdicts: Sequence[bool]) -> dict[str, Tally]:
    """Correct pairs under each name, sorted by name."""
    counts: dict[str, list[int]] = {name: [0, 0] for name in sorted(set(names))}
    for name, verdict in zip(names, verdicts, strict=True):
        counts[name][0] += bool(verdict)
        counts[name][1] += 1
    return {name: Tally(*both) for name, both in counts.items()}


def sentences(pairs: Sequence[MinimalPair]) -> list[str]:
    """Good and bad sentences in turn."""
    return [text for pair in pairs for text in (pair.good, pair.bad)]
