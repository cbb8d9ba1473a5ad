"""`epi-surgery rank` and `scores`: what they write, that it can be repeated, and what they refuse."""

import hashlib
import json
import sys

import pytest

from epi_surgery.commands.rank import layer_ranges
from epi_surgery.errors import SurgeryError
from epi_surgery.rank import names
from epi_surgery.rank.order import flat, lowest
from epi_surgery.score_file import read_scores
from fakes.pico_folder import write_folder
from fakes.surgery_command import refused, run

SIZES = ("--tokens", 64, "--window", 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("command") / "m", "qwen2")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text("The quick brown fox jumps over the lazy dog, 1234 times. " * 20)
    return path


@pytest.mark.parametrize("criterion", names.ALL)
def test_every_criterion_ranks_a_folder_and_can_be_repeated(folder, text, tmp_path, criterion):
    options = ("--criterion", criterion, "--text", text, *SIZES, "--steps", 4)
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    for out in (first, second):
        result = run("rank", folder, *options, "--out", out)
        assert result.exit_code == 0, result.output
    found = read_scores(first)
    assert [len(row) for row in found.scores] == [6, 6, 6] and found.criterion == criterion
    assert first.read_text() == second.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.json", "2.json"]


def test_the_record_says_all_that_is_needed_to_repeat_it(folder, text, tmp_path):
    run("rank", folder, "--text", text, *SIZES, "--seed", 3, "--out", tmp_path / "s.json")
    record = read_scores(tmp_path / "s.json").provenance
    assert record["texts"] == [{"text": "a.txt", "text_sha256": hashlib.sha256(text.read_bytes()).hexdigest()}]
    assert (record["tokens"], record["window"], record["seed"], record["dtype"]) == (64, 16, 3, "float32")
    assert set(record["versions"]) == {"epi_surgery", "torch", "transformers", "numpy", "python"}


def test_a_gguf_and_its_plan(pico_once, tmp_path):
    """From scores to a plan: the heads that leave are those that scored lowest."""
    out, plan = tmp_path / "s.json", tmp_path / "p.json"
    assert run("rank", pico_once, "--criterion", "random", "--seed", 5, "--protect", "0", "--out", out).exit_code == 0
    result = run("plan", pico_once, "--scores", out, "--fraction", 0.25, "--layout", "ragged", "--out", plan)
    assert result.exit_code == 0, result.output
    kept = [set(layer["query"]) for layer in json.loads(plan.read_text())["layers"]]
    assert [set(range(8)) - heads for heads in kept] == [set(heads) for heads in lowest(read_scores(out).scores, 6)]
    assert len(kept[0]) == 8


def test_the_model_writes_its_own_calibration_text(folder, tmp_path):
    out = tmp_path / "s.json"
    assert run("rank", folder, "--criterion", "entropy", *SIZES, "--out", out).exit_code == 0
    record = read_scores(out).provenance
    assert "from the model itself" in record["texts"][0]["text"] and record["tokens"] == 64


def test_a_model_larger_than_the_device_ranks_alike(folder, text, tmp_path):
    (tmp_path / "disk").mkdir()
    words = ("rank", folder, "--text", text, *SIZES)
    assert run(*words, "--out", tmp_path / "1.json").exit_code == 0
    spread = run(*words, "--offload", tmp_path / "disk", "--device-gib", 0.0002, "--out", tmp_path / "2.json")
    assert spread.exit_code == 0, spread.output
    one, other = (flat(read_scores(tmp_path / name).scores) for name in ("1.json", "2.json"))
    assert one.tolist() == pytest.approx(other.tolist())


def test_figures_are_drawn_and_marked(folder, text, tmp_path):
    for name, head in (("m.png", b"\x89PNG"), ("m.svg", b"<?xml")):
        figure = tmp_path / name
        words = ("rank", folder, "--text", text, *SIZES, "--out", tmp_path / f"{name}.json", "--figure", figure)
        plain = run(*words).exit_code, figure.read_bytes()
        marked = run(*words, "--mark", 0.33, "--force").exit_code, figure.read_bytes()
        assert plain[0] == marked[0] == 0 and plain[1].startswith(head) and plain[1] != marked[1]


def test_scores_are_shown_compared_and_drawn_with_a_plan(pico_once, tmp_path):
    files = [tmp_path / f"{seed}.json" for seed in (1, 2)]
    for seed, out in enumerate(files, 1):
        run("rank", pico_once, "--criterion", "random", "--seed", seed, "--out", out)
    assert "first to go" in run("scores", files[0]).output
    body = json.loads(run("scores", *files, "--json").output)
    assert body["spearman"][0][0] == body["spearman"][1][1] == 1 and abs(body["spearman"][0][1]) < 1
    assert f"{body['spearman'][0][1]:7.2f}" in run("scores", *files).output
    run("plan", pico_once, "--scores", files[0], "--fraction", 0.25, "--layout", "groups", "--out", tmp_path / "p.json")
    drawn = run("scores", files[0], "--plan", tmp_path / "p.json", "--figure", tmp_path / "m.png")
    assert drawn.exit_code == 0 and (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    refused(run("scores", *files, "--figure", tmp_path / "n.png"), "one score file, not 2")


def test_the_mean_of_several_seeds_is_a_score_file(pico_once, tmp_path):
    files = [tmp_path / f"{seed}.json" for seed in range(3)]
    for seed, file in enumerate(files):
        run("rank", pico_once, "--criterion", "random", "--seed", seed, "--out", file)
    assert run("scores", *files, "--mean", tmp_path / "mean.json").exit_code == 0
    mean = read_scores(tmp_path / "mean.json")
    every = [flat(read_scores(file).scores) for file in files]
    assert flat(mean.scores).tolist() == pytest.approx((sum(every) / 3).tolist())
    assert mean.criterion == "random" and [part["seed"] for part in mean.provenance["mean_of"]] == [0, 1, 2]
    shown = run("scores", tmp_path / "mean.json")
    assert shown.exit_code == 0 and "first to go" in shown.output
    words = ("rank", pico_once, "--criterion", "entropy", *SIZES, "--out", files[0], "--force")
    assert run(*words).exit_code == 0
    assert run("scores", files[0], files[0], "--mean", tmp_path / "twice.json").exit_code == 0
    assert read_scores(tmp_path / "twice.json").provenance["tokens"] == 128
    refused(run("scores", *files[1:], "--mean", tmp_path / "mean.json"), "already exists")
    refused(run("scores", files[0], "--mean", tmp_path / "m.json"), "two or more")
    run("rank", pico_once, "--criterion", "l2", "--out", tmp_path / "l2.json")
    refused(run("scores", files[1], tmp_path / "l2.json", "--mean", tmp_path / "m.json"), "l2, random have no scale in common")
    assert not (tmp_path / "m.json").exists()


def test_scores_of_two_models_are_not_compared(folder, pico_once, tmp_path):
    run("rank", folder, "--criterion", "random", "--out", tmp_path / "1.json")
    run("rank", pico_once, "--criterion", "random", "--out", tmp_path / "2.json")
    refused(run("scores", tmp_path / "1.json", tmp_path / "2.json"), "another model")


def test_refusals_are_one_sentence(folder, text, tmp_path):
    out = tmp_path / "s.json"
    latin = tmp_path / "latin.txt"
    latin.write_bytes("naïve".encode("latin-1"))
    short = tmp_path / "short.txt"
    short.write_text("too short")
    rank = ("rank", folder, "--out", out)
    refused(run(*rank, "--text", latin, *SIZES), "not UTF-8", "byte 2")
    refused(run(*rank, "--text", short, *SIZES), "9 tokens", "--window")
    refused(run(*rank, "--text", tmp_path / "none.txt", *SIZES), "no such file")
    refused(run(*rank, "--text", text, "--tokens", 8, "--window", 16), "--tokens")
    refused(run(*rank, "--text", text, *SIZES, "--protect", "0-x"), "0-1,29")
    refused(run(*rank, "--text", text, *SIZES, "--protect", "3"), "layers are 0 to 2")
    refused(run(*rank, "--text", text, *SIZES, "--figure", tmp_path / "m.bmp"), ".png or .svg")
    refused(run("rank", tmp_path, "--out", out), "no config.json")
    refused(run("rank", text, "--out", out), "not a GGUF")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latin.txt", "short.txt"]


def test_a_missing_library_is_named(monkeypatch, folder, text, tmp_path):
    for name in [name for name in sys.modules if name.startswith("epi_surgery.rank.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    refused(run("rank", folder, "--text", text, *SIZES, "--out", tmp_path / "s.json"), "needs torch", "epi-surgery[torch]")


def test_layers_are_named_by_ranges():
    assert layer_ranges("0-1, 29") == (0, 1, 29)
    assert layer_ranges("") == ()
    with pytest.raises(SurgeryError, match="0-1,29"):
        layer_ranges("1-")
