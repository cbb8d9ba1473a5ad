"""Export through llama.cpp's quantiser, and the cut of what it makes: K-quants, aligned and straddled."""

import resource
import subprocess
import sys

import gguf
import pytest
from click.testing import CliRunner

from epi_surgery.aim import Aim
from epi_surgery.cli import main
from epi_surgery.errors import SurgeryError
from epi_surgery.execute import execute
from epi_surgery.gguf_file import GgufFile
from epi_surgery.make_plan import Ranking, make_plan, rank
from epi_surgery.progress import bar
from epi_surgery.quantise import MIXES, export

pytestmark = pytest.mark.usefixtures("engine")


def exported(path, mix, out, allow=False):
    with GgufFile(path) as model:
        return export(model, mix, out, allow, bar)


def types(path):
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("mix", MIXES)
def test_every_mix_is_written_and_runs(pico_once, tmp_path, mix):
    result = exported(pico_once, mix, tmp_path / "q.gguf")
    assert result.fallbacks == ()
    assert types(tmp_path / "q.gguf")["blk.0.ffn_up.weight"] == mix.removesuffix("_M")


def test_tensors_that_fell_back_are_listed_with_what_they_got(pico, tmp_path):
    # Rows of 6 heads x 32 = 192 hold no whole super-block of 256; all other rows do.
    result = exported(pico(n_head=6, n_kv=2), "Q4_K_M", tmp_path / "q.gguf")
    assert [fall.name for fall in result.fallbacks] == [f"blk.{layer}.attn_output.weight" for layer in range(3)]
    written = types(tmp_path / "q.gguf")
    assert all(fall.row_length == 192 and fall.type == written[fall.name] == "Q5_0" for fall in result.fallbacks)


def test_quantising_twice_needs_a_word(pico_once, tmp_path):
    exported(pico_once, "Q8_0", tmp_path / "q8.gguf")
    with pytest.raises(SurgeryError, match="is Q8_0 already; quantising it again loses twice"):
        exported(tmp_path / "q8.gguf", "Q4_0", tmp_path / "q4.gguf")
    assert exported(tmp_path / "q8.gguf", "Q4_0", tmp_path / "q4.gguf", allow=True).n_bytes > 0


@pytest.mark.parametrize(("head_dim", "straddled"), [(128, False), (64, True), (32, True)])
def test_k_quants_are_cut_bytewise_where_super_blocks_align(pico, tmp_path, head_dim, straddled):
    exported(pico(head_dim=head_dim), "Q4_K_M", tmp_path / "q.gguf")
    with GgufFile(tmp_path / "q.gguf") as model:
        plan = make_plan(rank(model, Ranking(), None, bar), Aim(0.25, "groups", "uniform"), 64)
        result = execute(model, plan, tmp_path / "cut.gguf", True, None, bar)
    changed = {change.name: (change.was, change.now) for change in result.requantised}
    if straddled:
        assert changed == {f"blk.{layer}.attn_output.weight": ("Q4_K", "Q8_0") for layer in range(3)}
    else:
        assert changed == {}
    assert result.proof is not None and result.proof.max_abs_delta <= 1e-4
    before, after = types(tmp_path / "q.gguf"), types(tmp_path / "cut.gguf")
    assert {name for name in before if before[name] != after[name]} == set(changed)


def test_an_export_that_fails_leaves_nothing(pico_once, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    result = CliRunner().invoke(main, ["export", str(pico_once), "--quantize", "Q8_0", "--out", str(tmp_path / "q.gguf")])
    assert result.exit_code == 1 and "only 1,000 are free" in result.output
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_under_the_quantiser_is_a_sentence(pico_once, tmp_path):
    command = [sys.executable, "-m", "epi_surgery", "export", str(pico_once), "--quantize", "F16"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "q.gguf")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 1 and "the disk is full" in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
