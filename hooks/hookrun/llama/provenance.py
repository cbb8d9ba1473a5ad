"""What is known of a model besides its shape: the plan it was cut by, the layer that stands in it several times, its evaluation.

A cut model carries its plan as JSON in the GGUF key `epi.plan`, a probe model what is repeated in `epi.probe`; the result of an
evaluation stands beside the model, in MODEL.eval.json, and names the model it belongs to by its hash.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HookrunError
from ..gguf_header import GgufHeader

PLAN_KEY, PROBE_KEY = "epi.plan", "epi.probe"
EVAL_SUFFIX = ".eval.json"
EVAL_FORMAT, EVAL_VERSION = "epi-surgery eval", 1

Parsed = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Parsed JSON, None where there is none. `eval_matches` is None without an evaluation; notices are sentences."""

    plan: Parsed | None = None
    probe: Parsed | None = None
    eval: Parsed | None = None
    eval_matches: bool | None = None
    notices: tuple[str, ...] = ()

    def to_map(self) -> dict[str, Any]:
        """Return what there is, for the `model` map of a run; notices are for people only."""
        found = {"plan": self.plan, "probe": self.probe, "eval": self.eval, "eval_matches": self.eval_matches}
        return {name: value for name, value in found.items() if value is not None}


def provenance(path: Path, header: GgufHeader, sha256: str) -> Provenance:
    """Return the provenance of a model file; HookrunError where its own metadata is damaged."""
    found, problem = _evaluation(path)
    matches = None if found is None else _hash_of(found) == sha256
    notices = [problem] if problem else []
    if matches is False:
        notices.append(f"{path.name}{EVAL_SUFFIX} is the evaluation of another model and is left out; evaluate this one again")
    return Provenance(
        plan=_embedded(path, header, PLAN_KEY),
        probe=_embedded(path, header, PROBE_KEY),
        eval=found if matches else None,
        eval_matches=matches,
        notices=tuple(notices),
    )


def _embedded(path: Path, header: GgufHeader, key: str) -> Parsed | None:
    text = header.metadata.get(key)
    if text is None:
        return None
    parsed = _map(str(text))
    if parsed is None:
        raise HookrunError(f"{path} carries metadata {key!r} that is no JSON map; the file is damaged, make it again")
    return parsed


def _evaluation(path: Path) -> tuple[Parsed | None, str | None]:
    """Return the evaluation beside a model, or why the file there cannot be used; a run needs neither."""
    beside = path.with_name(path.name + EVAL_SUFFIX)
    try:
        parsed = _map(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, None
    except (OSError, UnicodeDecodeError) as error:
        return None, f"{beside.name} cannot be read and is left out: {error}"
    if parsed is None or (parsed.get("format"), parsed.get("version")) != (EVAL_FORMAT, EVAL_VERSION):
        return None, f"{beside.name} is no evaluation of version {EVAL_VERSION} and is left out; evaluate the model again"
    return parsed, None


def _hash_of(evaluation: Parsed) -> object:
    model = evaluation.get("model")
    return model.get("sha256") if isinstance(model, dict) else None


def _map(text: str) -> Parsed | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
