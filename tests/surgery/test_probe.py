"""Probe models: the layers in their order, the weights really repeated, and the engine runs them."""

import gguf
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.aim import Aim
from epi_surgery.architecture import architecture_of
from epi_surgery.cli import main
from epi_surgery.errors import SurgeryError
from epi_surgery.execute import execute
from epi_surgery.gguf_file import GgufFile
from epi_surgery.make_plan import Ranking, make_plan, rank
from epi_surgery.probe import Probe, layer_order
from epi_surgery.progress import bar
from epi_surgery.write_probe import write_probe


@given(st.integers(1, 40), st.integers(0, 39), st.integers(2, 6))
def test_the_order_repeats_one_layer_in_place(n_layer, layer, repeat):
    if layer >= n_layer:
        with pytest.raises(SurgeryError, match="does not exist"):
            layer_order(n_layer, Probe(layer, repeat))
        return
    order = layer_order(n_layer, Probe(layer, repeat))
    assert len(order) == n_layer + repeat - 1 and order == sorted(order)
    assert [order.count(i) for i in range(n_layer)] == [repeat if i == layer else 1 for i in range(n_layer)]


def test_one_repetition_tells_nothing():
    with pytest.raises(SurgeryError, match="must be 2 or more"):
        layer_order(3, Probe(1, 1))


def made(path, out, probe, check=True):
    with GgufFile(path) as model:
        return write_probe(model, probe, out, check, None, bar)


@pytest.mark.usefixtures("engine")
def test_the_weights_stand_repeated_in_the_file(pico_once, tmp_path):
    result = made(pico_once, tmp_path / "p.gguf", Probe(1, 3))
    before = {t.name: t.data.tobytes() for t in gguf.GGUFReader(pico_once).tensors}
    reader = gguf.GGUFReader(tmp_path / "p.gguf")
    after = {t.name: t.data.tobytes() for t in reader.tensors}
    for position, source in enumerate([0, 1, 1, 1, 2]):
        for part in ("attn_q.weight", "attn_output.weight", "ffn_down.weight", "attn_norm.weight"):
            assert after[f"blk.{position}.{part}"] == before[f"blk.{source}.{part}"]
    assert len({t.data_offset for t in reader.tensors}) == len(reader.tensors) == 2 + 5 * 9
    assert result.n_layer == 5
    assert sum(map(len, after.values())) - sum(map(len, before.values())) == 2 * result.layer_bytes


@pytest.mark.usefixtures("engine")
def test_a_cut_model_with_counts_per_layer_can_be_probed(pico, tmp_path):
    with GgufFile(pico()) as model:
        plan = make_plan(rank(model, Ranking(), None, bar), Aim(0.3, "groups", protected=(0,)), 64)
        execute(model, plan, tmp_path / "cut.gguf", False, None, bar)
    made(tmp_path / "cut.gguf", tmp_path / "p.gguf", Probe(2, 2))
    with GgufFile(tmp_path / "cut.gguf") as cut, GgufFile(tmp_path / "p.gguf") as probe:
        before, after = architecture_of(cut), architecture_of(probe)
        assert after.n_head == (*before.n_head, before.n_head[2]) and after.name == "deci"
        assert probe.text("epi.plan") == "" and probe.text("epi.probe")


def test_the_command_refuses_a_layer_that_is_not_there(pico_once, tmp_path):
    words = ["probe", str(pico_once), "--layer", "3", "--repeat", "2", "--out", str(tmp_path / "p.gguf"), "--no-check"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1 and "layers are 0 to 2" in result.output
    assert not list(tmp_path.iterdir())
