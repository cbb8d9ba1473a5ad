"""The 25 configurations: complete, honest about what a layout cannot do, and cut by the very plans they name."""

import json
from itertools import pairwise

from click.testing import CliRunner

from epi_surgery.aim import Aim
from epi_surgery.cli import main
from epi_surgery.gguf_file import GgufFile
from epi_surgery.make_plan import Ranking, rank
from epi_surgery.matrix import DEPTHS, configurations
from epi_surgery.plan_file import read_plan
from epi_surgery.progress import bar


def cells_of(path, layout):
    with GgufFile(path) as model:
        return list(configurations(rank(model, Ranking(), None, bar), Aim(0.5, layout), 64))


def test_there_are_25_with_every_depth_and_target(pico):
    cells = cells_of(pico(n_layer=8), "groups")
    assert len(cells) == 25 and cells[0].name == "baseline" and cells[0].plan is None
    assert {(cell.percent, cell.target) for cell in cells[1:]} == {
        (percent, target) for percent in DEPTHS for target in ("all", "early", "late")
    }
    assert all((cell.plan is None) == (cell.refusal is not None) for cell in cells[1:])


def test_a_depth_below_one_step_is_refused_and_equal_cuts_are_marked(pico):
    cells = {cell.name: cell for cell in cells_of(pico(n_layer=4), "groups")}
    # One layer of four is early, its groups are a quarter of it each: 5 % and 10 % are less than half a step.
    assert "smallest step is 0.25" in (cells["early-05"].refusal or "")
    assert cells["early-30"].same_as == "early-20" or cells["early-30"].same_as == "early-15"
    for cell in cells.values():
        if cell.same_as:
            assert cell.plan.layers == cells[cell.same_as].plan.layers


def test_depths_only_ever_add_to_what_is_removed(pico):
    cells = [cell for cell in cells_of(pico(n_layer=8), "balanced") if cell.target == "all" and cell.plan]
    for shallow, deep in pairwise(cells):
        for before, after in zip(shallow.plan.layers, deep.plan.layers, strict=True):
            assert set(after.query) <= set(before.query)


def test_the_command_writes_plans_and_an_index(pico, tmp_path):
    path, out = pico(n_layer=8), tmp_path / "plans"
    result = CliRunner().invoke(main, ["matrix", str(path), "--out", str(out)])
    assert result.exit_code == 0 and result.output.count("\n") == 26
    index = json.loads((out / "matrix.json").read_text())
    named = [cell for cell in index["configurations"] if cell["plan"]]
    assert sorted(cell["plan"] for cell in named) == sorted(p.name for p in out.iterdir() if p.name != "matrix.json")
    for cell in named:
        plan = read_plan(out / cell["plan"])
        assert abs(plan.shares.query_heads.removed_share - cell["removed_share"]["query_heads"]) < 1e-6
        assert plan.model.sha256 == index["sha256"]
    again = CliRunner().invoke(main, ["matrix", str(path), "--out", str(out)])
    assert again.exit_code == 1 and "already exists" in again.output
