"""Power cut at every operation of a flash on the flash chip: the old or the new firmware boots, whole, never neither."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from tiny_firmware import MAIN, write_firmware
from vm_board import VmRunner, interpreter

from epi_tools.board import Board
from epi_tools.flash import slots
from epi_tools.flash.build import compile_for, find_sources

SCRIPT = Path(__file__).parent / "on_board" / "power_cut.py"
STARTS = """
import bench
from . import VERSION
from .filler import TEXT


def start(on_healthy=None):
    bench.start(VERSION, on_healthy)
"""


def sources(folder, version):
    write_firmware(folder, version, STARTS)
    (folder / "epi_firmware" / "filler.py").write_text(f"TEXT = {version * 900!r}\n")  # a file of more than one block
    return find_sources(folder)


def plain_layout(folder, made):
    """As by hand: folders in the root, and the main.py of the first release."""
    for name, text in made.modules.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
    (folder / "main.py").write_text("from epi_firmware.board import start\n\nstart()\n")


def slot_layout(folder, board, made, older):
    """As after two flashes that have said that they are healthy."""
    for slot, sources_of_slot in (("app_b", older), ("app_a", made)):
        build = compile_for(sources_of_slot, board.identity.mpy)
        slots.install(board, slot, build)
        slots.put_on_trial(board, slot, build)
    (folder / "active").write_text("app_a")
    (folder / "main.py").write_bytes(made.main)


def record(tmp_path, layout):
    """Flash once on an ordinary folder; return what the board held before, and every piece of code that was run."""
    files = tmp_path / "files"
    files.mkdir()
    old, new = sources(tmp_path / "old", "1.0.0"), sources(tmp_path / "new", "2.0.0")
    runner = VmRunner(files)
    with Board(runner) as board:
        if layout == "plain":
            plain_layout(files, old)
        else:
            slot_layout(files, board, old, sources(tmp_path / "older", "0.9.0"))
        before = {
            str(path.relative_to(files)): base64.b64encode(path.read_bytes()).decode()
            for path in files.rglob("*")
            if path.is_file()
        }
        runner.codes.clear()
        state = slots.read_state(board)
        build = compile_for(new, board.identity.mpy)
        slots.install(board, state.idle, build)
        slots.install_main(board, new.main)
        slots.put_on_trial(board, state.idle, build)
    return {"files": before, "codes": runner.codes, "main": MAIN.read_text(), "old": old.version, "new": new.version}


@pytest.mark.parametrize("layout", ["plain", "slots"])
def test_a_power_cut_at_every_operation_leaves_a_whole_firmware(tmp_path, layout, record_property, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(record(tmp_path, layout)))
    done = subprocess.run(
        [interpreter(), "-X", "heapsize=64m", str(SCRIPT), str(plan)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    points, old, new = (sum(part[key] for part in figures.values()) for key in ("points", "old", "new"))
    assert figures["write"]["points"] > 100 and old and new
    assert old + new == points
    record_property("power_cut_points", points)
    with capsys.disabled():
        print(f" {points} power cuts, {old} boot the old firmware, {new} the new, 0 neither", end="")
