"""The parts that a hooked program rests on, each alone: import watch, ledger, rescue of a file, orders, marks."""

from __future__ import annotations

import importlib
import sys
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol.events import KIND_NAME
from hookrun.program.import_watch import ImportWatch
from hookrun.program.ledger import Ledger
from hookrun.program.rescue import complete
from hookrun.program.spec import ProgramSpec, Repetition
from hookrun.program.voice import Voice
from hookrun.program.watcher import watch
from hookrun.pytorch.stamps import EMBEDDING_END, REPEATED, Blocks, attention_end, layer_end, repeat_end
from hookrun.sending.eventfile import EventFile
from hookrun.sending.recording import Recording

from .followed import read_run


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_import_is_reported_once_the_module_is_whole(modules: Path) -> None:
    (modules / "watched_pack").mkdir()
    (modules / "watched_pack" / "__init__.py").write_text("loader_inside = __spec__.loader\nfrom . import sub\nlast = 1\n")
    (modules / "watched_pack" / "sub.py").write_text("value = 2\n")
    reports: list[str] = []
    watch = ImportWatch(
        {
            "watched_pack": lambda module: reports.append(f"pack {module.last}"),
            "watched_pack.sub": lambda module: reports.append(f"sub {module.value}"),
            "watched_missing": lambda module: reports.append("never"),
        }
    )
    watch.install()
    try:
        module = importlib.import_module("watched_pack")
        with pytest.raises(ModuleNotFoundError, match="No module named 'watched_missing'"):
            importlib.import_module("watched_missing")
    finally:
        watch.remove()
    assert reports == ["sub 2", "pack 1"]
    assert type(module.__spec__.loader).__name__ == type(module.loader_inside).__name__ == "SourceFileLoader"
    assert watch not in sys.meta_path


def test_a_module_that_is_loaded_already_is_reported_at_once() -> None:
    reports: list[str] = []
    watch = ImportWatch({"json": lambda module: reports.append(module.__name__)})
    watch.install()
    watch.remove()
    assert reports == ["json"]


def test_orders_survive_their_way() -> None:
    for repetition in (None, Repetition(7, 3)):
        spec = ProgramSpec(ledger="/x", label="ä", command=("python", "-c", "1"), repetition=repetition, pythonpath=None)
        assert ProgramSpec.from_json(spec.to_json()) == spec


def test_the_right_to_record_is_given_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert not ledger.armed
    ledger.arm(1)
    assert ledger.armed
    assert [ledger.claim(1), ledger.claim(2)] == [True, False]
    ledger.opened(1, {"out": None, "daemon": "d"})
    assert ledger.unfinished() == {1: {"out": None, "daemon": "d"}}
    ledger.closed(1)
    assert ledger.unfinished() == {}


def recorded(out: Path, spans: int) -> None:
    recording = Recording(engine="test", out=out)
    recording.begin("r", {}, {})
    for number in range(spans):
        recording.ring.push("token", number, number + 1)
    recording.end("complete")
    out.rename(out.with_name(out.name + ".part"))


@pytest.mark.parametrize("cut", [0, 1, 50])
def test_a_file_without_its_end_is_completed(cut: int, tmp_path: Path) -> None:
    out = tmp_path / "run.events"
    recorded(out, 5)
    part = out.with_name("run.events.part")
    data = part.read_bytes()
    whole = data[: data.index(b"\x92\xa7run_end")]
    part.write_bytes(whole + data[len(whole) : len(whole) + cut])
    assert complete(out, 99) == 5
    run = read_run(out)
    assert (run.end["status"], run.end["spans"], run.end["node_ns"], len(run.rows)) == ("aborted", 5, 99, 5)
    assert run.end["run"] == run.begin["run"]
    assert not part.exists()


def test_nothing_to_complete(tmp_path: Path) -> None:
    assert complete(tmp_path / "none.events", 1) is None


def test_the_watcher_closes_what_the_dead_left_open(tmp_path: Path) -> None:
    out = tmp_path / "run.events"
    EventFile(out, [b"hello", b"\x80"]).flush()
    ledger = Ledger.create()
    ledger.arm(5)
    ledger.opened(5, {"out": str(out), "daemon": None})
    ledger.opened(6, {"out": None, "daemon": "tcp://x"})
    waited: list[int] = []

    def wait(pid: int) -> None:
        waited.append(pid)
        if pid == 6:
            ledger.closed(6)  # it ends its run by itself while we wait

    said: list[str] = []
    watch(ledger, wait, said.append)
    assert sorted(waited) == [5, 6]
    assert len(said) == 1
    assert "0 spans are in" in said[0]
    assert out.exists()
    assert not ledger.folder.exists()


def test_a_voice_is_never_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice()
    voice.warn("once")
    voice.warn("once")
    assert capsys.readouterr().err == "hookrun: warning: once\n"
    for stream in (None, type("Gone", (), {"write": lambda *_: (_ for _ in ()).throw(BrokenPipeError())})()):
        monkeypatch.setattr(sys, "stderr", stream)
        voice.warn(f"to {stream}")
    Voice(quiet=True).tell("nothing")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=12))
def test_marks_name_the_spans_that_end_there(layers: list[tuple[bool, int]]) -> None:
    marks, expected = [EMBEDDING_END], [("embedding", -1)]
    without_attention = {number for number, (halved, _repeats) in enumerate(layers) if not halved and number % 2}
    for number, (halved, repeats) in enumerate(layers):
        if halved:
            marks.append(attention_end(number))
            expected.append(("attention", number))
        marks += [layer_end(number), *[repeat_end(number)] * repeats]
        expected += [("ffn" if halved or number in without_attention else "layer", number), *[("repeat", number)] * repeats]
    blocks = Blocks(without_attention)
    block = blocks.block(marks)
    assert [(KIND_NAME[kind], layer) for kind, layer in zip(block.kinds, block.layers, strict=True)] == [*expected, ("head", -1)]
    assert blocks.block(list(marks)) is block
    assert block.kinds.typecode + block.layers.typecode == array("B").typecode + "h"


@given(st.lists(st.sampled_from(["whole", "attention", "attention-free"]), min_size=1, max_size=8))
def test_marks_of_repeated_halves_name_them(repeats: list[str]) -> None:
    marks, expected = [EMBEDDING_END], [("embedding", -1)]
    for number, what in enumerate(repeats):
        if what != "attention-free":
            marks += [attention_end(number), layer_end(number), attention_end(number + REPEATED)]
            expected += [("attention", number), ("ffn", number), ("repeat_attention", number)]
        else:
            marks.append(layer_end(number))
            expected.append(("ffn", number))
        if what != "attention":
            marks.append(layer_end(number + REPEATED))
            expected.append(("repeat_ffn", number))
    block = Blocks([number for number, what in enumerate(repeats) if what == "attention-free"]).block(marks)
    assert [(KIND_NAME[kind], layer) for kind, layer in zip(block.kinds, block.layers, strict=True)] == [*expected, ("head", -1)]
