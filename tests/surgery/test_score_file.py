"""Score files survive the way through disk, and every wrong field is refused in one sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.errors import SurgeryError
from epi_surgery.plan import ModelId
from epi_surgery.score_file import HeadScores, check_scores_fit, read_scores, scores_json, write_scores

MODEL = ModelId("a model", "ab" * 32, 1000)
FOUND = HeadScores(MODEL, "taylor", ((0.1, -2.5), (3e-9, 4.0)), {"seed": 1, "texts": [{"text": "t"}]})
numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4).map(tuple)


@given(st.lists(numbers, min_size=1, max_size=4).map(tuple))
def test_every_number_comes_back_as_it_was(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("scores") / "s.json"
    write_scores(path, HeadScores(MODEL, "x", scores))
    assert read_scores(path).scores == scores


def test_round_trip(tmp_path):
    write_scores(tmp_path / "s.json", FOUND)
    assert read_scores(tmp_path / "s.json") == FOUND


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["format"], "plan", "not a score file"),
        (["version"], 2, "version 2 cannot be read"),
        (["criterion"], "", "'criterion'"),
        (["provenance"], [], "'provenance'"),
        (["model"], None, "'model' is missing"),
        (["model", "sha256"], "AB" * 32, "64 hexadecimal"),
        (["model", "n_bytes"], "1", "'n_bytes'"),
        (["scores"], [], "not a list of layers"),
        (["scores", 1], None, "layer 1"),
        (["scores", 1, 0], float("nan"), "layer 1 are not a list of finite"),
        (["scores", 0, 1], True, "layer 0"),
        (["scores", 0, 1], float("inf"), "layer 0"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, path, value, words):
    body = json.loads(scores_json(FOUND))
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (tmp_path / "s.json").write_text(json.dumps(body))
    with pytest.raises(SurgeryError, match=words) as caught:
        read_scores(tmp_path / "s.json")
    assert str(caught.value).startswith(str(tmp_path / "s.json"))


def test_files_that_are_none(tmp_path):
    with pytest.raises(SurgeryError, match="no such file"):
        read_scores(tmp_path / "none.json")
    (tmp_path / "half.json").write_text(scores_json(FOUND)[:-20])
    with pytest.raises(SurgeryError, match="no valid JSON"):
        read_scores(tmp_path / "half.json")


def test_scores_of_another_model_or_shape():
    check_scores_fit(FOUND, MODEL, [2, 2])
    with pytest.raises(SurgeryError, match="another model: 'a model'"):
        check_scores_fit(FOUND, ModelId("b", "cd" * 32, 1), [2, 2])
    with pytest.raises(SurgeryError, match="4 heads in 2 layers, the model has 6 in 2"):
        check_scores_fit(FOUND, MODEL, [3, 3])
