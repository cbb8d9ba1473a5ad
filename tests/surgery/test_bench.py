"""The benchmark: fair pairs under a fake clock, variants that compute the same heads, and the tables' counts."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from epi_surgery.bench.paired import interleaved, ratios  # noqa: E402
from epi_surgery.bench.shapes import Shape, random_model  # noqa: E402
from epi_surgery.bench.speed import workload  # noqa: E402
from epi_surgery.bench.tables import parameters_by_component, table_one  # noqa: E402
from epi_surgery.bench.variants import kept_heads, variants  # noqa: E402
from epi_surgery.cli import main  # noqa: E402
from epi_surgery.model.attention import attention_layers  # noqa: E402
from epi_surgery.model.gates import masked  # noqa: E402

SHAPE = Shape("pico", 2, 128, 64, 8, 4, 16, 200)


@pytest.fixture(scope="module")
def model():
    return random_model(SHAPE, torch.float32, 0)


def test_a_known_slowness_comes_out_whatever_the_machine_does():
    now, drift = [0.0], iter(np.linspace(1, 5, 1000))

    def work(cost):
        def run():
            now[0] += cost * next(drift)

        return run

    seconds = interleaved({"base": work(1.0), "fast": work(0.8)}, 100, 0, lambda: now[0])
    found = ratios(seconds, "base")
    assert found["base"].value == 1 and abs(found["fast"].value - 1.25) < 0.02
    low, high = found["fast"].interval
    assert low < 1.25 < high


@torch.inference_mode()
def test_all_variants_compute_their_heads(model):
    tokens = torch.arange(12)[None]
    found = variants(model, SHAPE, 0.25, 3)
    expected = {name: kept_heads(SHAPE, 0.25, layout, 3) for name, layout in (("ragged", "ragged"), ("groups", "groups"))}
    expected["expanding"] = expected["ragged"]
    assert torch.allclose(found["unpruned"](tokens).logits, model(tokens).logits, atol=1e-4)
    for name, kept in expected.items():
        assert sum(len(heads.query) for heads in kept) == 12
        with masked(attention_layers(model), kept):
            assert torch.allclose(found[name](tokens).logits, model(tokens).logits, atol=1e-4)


def test_decoding_forgets_what_it_added(model):
    run = workload(model, ("decode", 10))
    for _ in range(2):
        run()
        assert run.cache.get_seq_length() == 10


def test_parameters_by_component(model):
    count = parameters_by_component(model)
    assert count["attention"] == 2 * (2 * 8 + 2 * 4) * 16 * 128 and count["feed-forward"] == 2 * 3 * 64 * 128
    assert count["embedding and head"] == 200 * 128 and count["norms"] == 5 * 128
    rows = {row["component"]: row for row in table_one(variants(model, SHAPE, 0.25, 3))}
    # Four heads of eight, with q and o of 16 x 128 each.
    assert rows["attention"]["unpruned"] - rows["attention"]["ragged"] == 4 * 2 * 16 * 128
    assert rows["all"]["groups"] < rows["all"]["unpruned"]


def test_the_command_refuses_points_it_cannot_time(tmp_path):
    result = CliRunner().invoke(main, ["bench", "--point", "decode:0"])
    assert result.exit_code == 1 and "takes prefill:N or decode:N" in result.output


def test_the_command_prints_and_writes_ratios(tmp_path, monkeypatch):
    monkeypatch.setattr("epi_surgery.bench.run.SHAPES", {"1b": SHAPE})
    words = ["bench", "--dtype", "float32", "--rounds", "3", "--point", "decode:8", "--out", str(tmp_path / "b.json")]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0, shown.output
    body = json.loads((tmp_path / "b.json").read_text())
    assert body["points"][0]["unpruned"]["value"] == 1 and body["points"][0]["ragged"]["value"] > 0
    assert "decode:8" in shown.output and "expanding" in shown.output


def test_the_tables_are_the_reports(monkeypatch):
    monkeypatch.setattr("epi_surgery.bench.run.SHAPES", {"1b": SHAPE})
    words = ["bench", "--tables", "--dtype", "float32", "--rounds", "3", "--case", "short-64", "--json"]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0, shown.output
    body = json.loads(shown.output)
    assert [row["case"] for row in body["throughput"]] == ["short-64"] and body["forward_64"]["unpruned"]["value"] == 1
    assert body["throughput"][0]["groups"]["tokens_per_s"] == pytest.approx(64 / body["throughput"][0]["groups"]["seconds"])
    assert body["parameters"][-1]["component"] == "all"


def test_cases_are_rows_of_the_tables():
    from epi_surgery.bench.tables import throughput_cases
    from epi_surgery.commands.bench import _CASES

    assert tuple(case[0] for case in throughput_cases()) == _CASES
    result = CliRunner().invoke(main, ["bench", "--case", "short-64"])
    assert result.exit_code == 1 and "--tables" in result.output
