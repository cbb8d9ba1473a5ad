"""What travels with a model: its plan and probe inside the file, its evaluation beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hookrun.errors import HookrunError
from hookrun.llama.model import open_model

from .gguf_maker import gguf, llama

PLAN = {"format": "epi-surgery plan", "version": 1, "layers": [{"keep": [0, 1]}, {"keep": [0, 2]}]}


def write(path: Path, **changes: object) -> Path:
    path.write_bytes(gguf(llama(**changes), [("token_embd.weight", (64, 100), 8)]))
    return path


def write_evaluation(path: Path, text: str | None = None, **changes: Any) -> dict[str, Any]:
    evaluation = {
        "format": "epi-surgery eval",
        "version": 1,
        "model": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "accuracy": {"task": "blimp", "correct": 81, "n": 100, "value": 0.81, "interval": [0.72, 0.88]},
        **changes,
    }
    path.with_name(path.name + ".eval.json").write_text(json.dumps(evaluation) if text is None else text)
    return evaluation


def test_plan_and_probe_are_in_the_map_as_parsed(tmp_path: Path) -> None:
    plan, probe = json.dumps(PLAN), json.dumps({"layer": 2, "repeat": 4})
    model = open_model(write(tmp_path / "m.gguf", epi__plan=plan, epi__probe=probe))
    assert (model.to_map()["plan"], model.to_map()["probe"]) == (PLAN, {"layer": 2, "repeat": 4})


def test_a_model_without_any_of_it_has_none_of_it_in_its_map(tmp_path: Path) -> None:
    model = open_model(write(tmp_path / "m.gguf"))
    assert not {"plan", "probe", "eval", "eval_matches", "provenance"} & model.to_map().keys()
    assert model.provenance.notices == ()


def test_the_evaluation_beside_the_model_is_taken_when_it_is_this_models(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    evaluation = write_evaluation(path)
    described = open_model(path).to_map()
    assert (described["eval"], described["eval_matches"]) == (evaluation, True)


def test_another_models_evaluation_is_left_out_with_a_notice(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    write_evaluation(path, model={"file": "m.gguf", "sha256": "0" * 64})
    model = open_model(path)
    assert "eval" not in model.to_map()
    assert model.to_map()["eval_matches"] is False
    assert "m.gguf.eval.json is the evaluation of another model" in model.provenance.notices[0]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "epi-surgery eval", "version": 2}', '{"model": 3}'])
def test_an_evaluation_that_cannot_be_read_is_left_out_with_a_notice(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "m.gguf")
    write_evaluation(path, text)
    model = open_model(path)
    assert "eval" not in model.to_map()
    assert "is no evaluation of version 1" in model.provenance.notices[0]


@pytest.mark.parametrize("key", ["epi.plan", "epi.probe"])
@pytest.mark.parametrize("text", ["{", "[1]", "7"])
def test_a_damaged_plan_is_refused(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(HookrunError, match=f"'{key}' that is no JSON map"):
        open_model(write(tmp_path / "m.gguf", **{key.replace(".", "__"): text}))
