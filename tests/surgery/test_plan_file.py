"""Plans survive the way through their file, and every wrong field is refused in one sentence."""

import hashlib
import json

import pytest

from epi_surgery.aim import Aim
from epi_surgery.errors import BadPlan, SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.make_plan import Ranking, make_plan, rank
from epi_surgery.plan_file import parse_plan, plan_json, read_plan, write_plan
from epi_surgery.progress import bar


@pytest.fixture(scope="module")
def plan(pico_once):
    with GgufFile(pico_once) as model:
        return make_plan(rank(model, Ranking(), None, bar), Aim(0.34, "groups", protected=(0,)), 64)


def test_round_trip(plan, tmp_path):
    write_plan(tmp_path / "p.json", plan)
    assert read_plan(tmp_path / "p.json") == plan
    assert plan_json(read_plan(tmp_path / "p.json")) == (tmp_path / "p.json").read_text()


def test_shares_are_counted_from_shapes(plan, pico_once):
    removed = sum(8 - len(heads.query) for heads in plan.layers)
    # head_dim 32, embedding 256, float32: a group is two q heads, one k, one v, two columns blocks of o.
    groups = removed // 2
    per_group = (2 + 1 + 1 + 2) * 32 * 256
    assert plan.shares.query_heads.before - plan.shares.query_heads.after == removed
    assert plan.shares.parameters.before - plan.shares.parameters.after == groups * per_group
    assert plan.shares.tensor_bytes.before - plan.shares.tensor_bytes.after == groups * per_group * 4
    assert plan.model.sha256 == hashlib.sha256(pico_once.read_bytes()).hexdigest()


def edited(plan, path, value):
    body = json.loads(plan_json(plan))
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(body)


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (["format"], "something", "not a plan"),
        (["version"], 1, "version 1 cannot be read"),
        (["engine"], "abacus", "engine 'abacus'"),
        (["criterion"], "", "'criterion'"),
        (["model", "sha256"], "xyz", "'sha256'"),
        (["model"], None, "section 'model'"),
        (["model", "n_bytes"], -1, "'n_bytes'"),
        (["architecture", "n_head"], [8], "1 entries for 3 layers"),
        (["architecture", "n_head"], [8, 8, 8.5], "whole numbers"),
        (["architecture", "n_head"], [7, 7, 7], "cannot be shared evenly"),
        (["architecture", "n_layer"], True, "'n_layer'"),
        (["aim", "fraction"], "much", "'fraction'"),
        (["aim", "fraction"], 1.0, "'fraction'"),
        (["aim", "attention_free"], 1, "'attention_free'"),
        (["aim", "spread"], "butter", "spread 'butter'"),
        (["nodes"], 0, "'nodes'"),
        (["k_quants"], 1, "'k_quants'"),
        (["aim", "layout"], "spiral", "layout 'spiral'"),
        (["layers"], [], "must list the 3 layers"),
        (["layers", 1], [1, 2], "layer 1 is not an object"),
        (["layers", 0, "query"], [], "layer 0 would keep no head"),
        (["layers", 2, "query"], [], "layer 2 would keep no head"),
        (["layers", 1, "query"], [0, 1, 2], "layer 1: the KV groups that stay keep 1 to 2"),
        (["layers", 1, "query"], [1, 0, 2, 3], "layer 1: heads must be ascending"),
        (["layers", 1, "query"], [0, 0, 1], "layer 1: heads must be ascending"),
        (["layers", 1, "query"], [0, 99], "query head 99 does not exist"),
        (["layers", 1, "kv"], [], "layer 1: heads must be ascending"),
        (["shares", "query_heads", "after"], 1, "edited by hand"),
        (["shares", "parameters"], 3, "section 'parameters'"),
        (["per_token", "context"], -1, "'context'"),
        (["per_token", "flops"], None, "section 'flops'"),
    ],
)
def test_every_wrong_field_is_refused(plan, path, value, word):
    with pytest.raises(BadPlan, match=word):
        parse_plan(edited(plan, path, value))


def test_files_that_are_no_plan(tmp_path):
    path = tmp_path / "p.json"
    for content, word in [(b"\xff\xfe", "not text"), (b"{", "no valid JSON"), (b"[]", "its format"), (b"", "no valid JSON")]:
        path.write_bytes(content)
        with pytest.raises(BadPlan, match=word) as caught:
            read_plan(path)
        assert str(path) in str(caught.value)
    with pytest.raises(SurgeryError, match="no such file"):
        read_plan(tmp_path / "none.json")
