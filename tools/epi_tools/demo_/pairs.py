"""Minimal pairs for the demo: does a verb agree with its subject across the words that stand between them?

Sentences are put together from the lists below, in the file format that `epi-surgery eval` reads. They are few and of one kind:
enough to see a cut hurt, and not an accuracy to compare models by.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

NOUNS = ("key", "letter", "picture", "lamp", "wire", "meter", "box", "report")
BETWEEN = ("near the windows", "behind the old machines", "that the engineers found", "next to the tables")
VERBS = (("is", "are", "lost"), ("was", "were", "small"), ("has", "have", "been moved"))


def pairs() -> list[tuple[str, str]]:
    """Every (acceptable, unacceptable) pair of sentences: singular subjects, then plural ones."""
    found = []
    for noun, between, (one, many, rest) in product(NOUNS, BETWEEN, VERBS):
        found.append((f"The {noun} {between} {one} {rest}.", f"The {noun} {between} {many} {rest}."))
    for noun, between, (one, many, rest) in product(NOUNS, BETWEEN, VERBS):
        plural = "boxes" if noun == "box" else f"{noun}s"
        singular_between = between.removesuffix("s") if between.endswith("s") else between
        found.append((f"The {plural} {singular_between} {many} {rest}.", f"The {plural} {singular_between} {one} {rest}."))
    return found


def write_pairs(folder: Path) -> Path:
    """Write the pairs as one test, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"sentence_good": good, "sentence_bad": bad, "linguistics_term": "subject_verb_agreement"})
        for good, bad in pairs()
    ]
    (folder / "agreement.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
