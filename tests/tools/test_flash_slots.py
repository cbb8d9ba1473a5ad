"""Writing a slot: what is checked, in which order, and what an interrupted or spoilt flash leaves behind."""

import hashlib
import json
from pathlib import Path

import pytest
from tiny_firmware import CRASHES, DOES_NOT_COMPILE, GOOD, write_firmware
from vm_board import VmRunner

from epi_tools.board import Board, BoardError, SnippetError
from epi_tools.flash import slots
from epi_tools.flash.build import compile_for, find_sources
from epi_tools.flash.slots import SlotState


@pytest.fixture
def runner(tmp_path):
    files = tmp_path / "board"
    files.mkdir()
    runner = VmRunner(files)
    yield runner
    runner.close()


@pytest.fixture
def files(tmp_path):
    return tmp_path / "board"


@pytest.fixture
def sources(tmp_path):
    return find_sources(write_firmware(tmp_path / "firmware", "1.2.3"))


def flash(board, sources):
    """Everything but the reset."""
    state = slots.read_state(board)
    build = compile_for(sources, board.identity.mpy)
    slots.install(board, state.idle, build)
    slots.install_main(board, build.main)
    slots.put_on_trial(board, state.idle, build)
    return build


def test_a_flash_writes_the_idle_slot_and_nothing_else(runner, files, sources):
    board = Board(runner)
    (files / "config.json").write_text("{}")
    for slot, other in (("app_a", "app_b"), ("app_b", "app_a")):
        before = {path: path.read_bytes() for path in (files / other).rglob("*.mpy")}
        build = flash(board, sources)
        assert (files / "active").read_text() == f"{slot} 3"
        manifest = json.loads((files / slot / "manifest.json").read_text())
        assert manifest["version"] == sources.version == build.version
        for name, digest in manifest["files"].items():
            assert hashlib.sha256((files / slot / name).read_bytes()).hexdigest() == digest
        assert {path.relative_to(files / slot) for path in (files / slot).rglob("*.mpy")} == set(map(Path, build.files))
        assert {path: path.read_bytes() for path in (files / other).rglob("*.mpy")} == before
        (files / "active").write_text(slot)
    assert (files / "main.py").read_bytes() == sources.main and (files / "config.json").read_text() == "{}"
    assert not list(files.rglob("*.new"))


def test_the_manifest_goes_first_and_comes_last(runner, files, sources):
    board = Board(runner)
    flash(board, sources)
    (files / "active").write_text("app_b")  # app_b is missing: app_a runs, and is not touched
    flash(board, sources)
    (files / "active").write_text("app_b")
    runner.codes.clear()
    flash(board, sources)
    touching = [code for code in runner.codes if "app_a" in code and ("remove(" in code or "'wb'" in code or "rename" in code)]
    assert touching[0] == "import os\nos.remove('app_a/manifest.json')"
    assert runner.codes[-1] == "import os\nos.rename('app_a/manifest.json.new', 'app_a/manifest.json')"
    assert runner.codes.index("import os\nos.rename('active.new', 'active')") > runner.codes.index(last_file(runner.codes))


def last_file(codes):
    """The code that writes the last module."""
    return [code for code in codes if ".mpy', 'wb'" in code][-1]


def test_a_byte_that_changes_on_the_way_stops_the_flash(runner, files, sources):
    board = Board(runner)
    flash(board, sources)
    (files / "active").write_text("app_a")
    runner.spoil = lambda code: (
        code.replace("f.close()", "f.seek(100)\nf.write(b'\\x00')\nf.close()") if "board.mpy" in code else code
    )
    with pytest.raises(BoardError, match=r"app_b/epi_firmware/board\.mpy is not what was written \(sha256 differs\)"):
        flash(board, sources)
    assert (files / "active").read_text() == "app_a"
    assert not (files / "app_b" / "manifest.json").exists()
    assert slots.read_state(board).running == "app_a"


def test_the_connection_lost_at_any_command_and_the_flash_repeated(runner, files, sources):
    board = Board(runner)
    flash(board, sources)
    (files / "active").write_text("app_a")
    runner.codes.clear()
    flash(board, sources)
    commands = len(runner.codes)
    assert commands > 20
    for lost_at in range(0, commands, 3):
        (files / "active").write_text("app_a")
        left = [lost_at]

        def lose(code, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise BoardError("The board is gone.")
            return code

        runner.spoil = lose
        with pytest.raises(BoardError, match="gone"):
            flash(board, sources)
        runner.spoil = lambda code: code
        assert slots.read_state(board).running == "app_a"
    flash(board, sources)
    assert (files / "active").read_text() == "app_b 3"


def test_a_full_board_is_said_before_anything_is_written(runner, files, sources):
    board = Board(runner)
    runner.spoil = lambda code: "print(40 * 512)" if "statvfs" in code else code
    with pytest.raises(BoardError, match=r"has 20 KiB free and the firmware needs \d+"):
        flash(board, sources)
    assert not list(files.rglob("*.mpy")) and not (files / "active").exists()


def test_an_error_on_the_board_names_what_was_done(runner, files, sources):
    board = Board(runner)
    (files / "app_a").write_text("a file where a folder has to be")
    with pytest.raises(SnippetError, match=r"^The board could not .*app_a: OSError"):
        flash(board, sources)


@pytest.mark.parametrize(
    ("pointer", "whole", "running", "idle"),
    [
        ("", (), "", "app_a"),
        ("", ("app_b",), "app_b", "app_a"),
        ("app_a", ("app_a", "app_b"), "app_a", "app_b"),
        ("app_b", ("app_a", "app_b"), "app_b", "app_a"),
        ("app_b 2", ("app_a", "app_b"), "app_b", "app_a"),
        ("app_b 0", ("app_a", "app_b"), "app_a", "app_b"),
        ("app_a 0", ("app_a",), "", "app_a"),
        ("app_b", ("app_a",), "app_a", "app_b"),
        ("rubbish", ("app_a", "app_b"), "app_a", "app_b"),
    ],
)
def test_which_slot_is_idle(pointer, whole, running, idle):
    state = SlotState(pointer, whole)
    assert (state.running, state.idle) == (running, idle)


def test_going_back_leaves_what_was_there(runner, files, sources):
    board = Board(runner)
    nothing = slots.read_state(board)
    flash(board, sources)
    slots.go_back(board, "app_a", nothing)
    assert slots.read_state(board) == SlotState("", ())
    flash(board, sources)
    (files / "active").write_text("app_a")
    before = slots.read_state(board)
    flash(board, sources)
    slots.go_back(board, "app_b", before)
    assert slots.read_state(board) == before


def test_equal_sources_make_equal_files_and_other_sources_another_version(tmp_path):
    one, same = (find_sources(write_firmware(tmp_path / name, "1.0.0")) for name in ("one", "same"))
    other = find_sources(write_firmware(tmp_path / "other", "1.0.0", CRASHES))
    mpy = 6 | 3 << 8 | 7 << 10
    assert one == same and compile_for(one, mpy) == compile_for(same, mpy)
    assert one.version != other.version and one.version.startswith("1.0.0+")
    assert all(code[:2] == b"M\x06" for code in compile_for(one, mpy).files.values())


def test_native_code_has_to_fit_the_board(tmp_path):
    native = GOOD + "\n\n@micropython.native\ndef fast(x):\n    return x + 1\n"
    sources = find_sources(write_firmware(tmp_path / "native", "1.0.0", native))
    assert compile_for(sources, 6 | 3 << 8 | 4 << 10)
    with pytest.raises(BoardError, match="machine code that this MicroPython does not load"):
        compile_for(sources, 6 | 2 << 8 | 4 << 10)


def test_sources_that_make_no_firmware(tmp_path):
    with pytest.raises(BoardError, match="There is no firmware in"):
        find_sources(tmp_path)
    broken = find_sources(write_firmware(tmp_path / "broken", "1.0.0", DOES_NOT_COMPILE))
    with pytest.raises(BoardError, match=r"epi_firmware/board\.py does not compile for the board: SyntaxError"):
        compile_for(broken, 6 | 3 << 8)
    with pytest.raises(BoardError, match=r"loads \.mpy files of version 5"):
        compile_for(broken, 5)
    folder = write_firmware(tmp_path / "nameless", "1.0.0")
    (folder / "epi_firmware" / "__init__.py").write_text("")
    with pytest.raises(BoardError, match="has no line VERSION"):
        find_sources(folder)
