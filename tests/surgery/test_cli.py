"""The command line: what it prints, what it refuses, and that it leaves nothing half done."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from epi_surgery.cli import COMMANDS
from fakes.surgery_command import refused, run


def planned(model, out, *words):
    result = run("plan", model, "--fraction", 0.25, "--uniform", "--out", out, *words)
    assert result.exit_code == 0, result.output
    return result


def test_plan_and_cut_without_proof(pico_once, tmp_path):
    plan, out = tmp_path / "plan.json", tmp_path / "cut.gguf"
    shown = planned(pico_once, plan).output
    assert "24 -> 18  (-25.00 %)" in shown and "12 -> 9" in shown
    result = run("cut", pico_once, plan, "--out", out, "--no-prove")
    assert result.exit_code == 0 and "skipped" in result.output
    assert f"{pico_once.stat().st_size:,} -> {out.stat().st_size:,} bytes" in result.output


@pytest.mark.usefixtures("engine")
def test_json_everywhere(pico_once, tmp_path):
    plan, out = tmp_path / "plan.json", tmp_path / "cut.gguf"
    assert json.loads(planned(pico_once, plan, "--json").output) == json.loads(plan.read_text())
    body = json.loads(run("cut", pico_once, plan, "--out", out, "--json").output)
    assert body["proof"]["max_abs_delta"] <= 1e-4 < body["proof"]["control_max_abs_delta"]
    shown = json.loads(run("show", out, "--json").output)
    assert shown["n_head"] == [6, 6, 6] and shown["n_kv"] == [3, 3, 3] and shown["head_dim_k"] == 32
    assert shown["n_bytes"] == body["n_bytes"] == out.stat().st_size


def test_show_draws_what_was_removed(pico_once, tmp_path):
    plan, out = tmp_path / "plan.json", tmp_path / "cut.gguf"
    planned(pico_once, plan, "--criterion", "random", "--seed", 3)
    run("cut", pico_once, plan, "--out", out, "--no-prove")
    text = run("show", out).output
    assert "cut from" in text and "6 query heads on 3 KV heads" in text and ". ." in text
    assert "8 query heads on 4 KV heads" in run("show", pico_once).output


def test_refusals_are_one_sentence(pico, pico_once, tmp_path):
    plan, out = tmp_path / "plan.json", tmp_path / "cut.gguf"
    planned(pico_once, plan)
    other = pico("other.gguf", seed=2)
    reshaped = pico("reshaped.gguf", n_head=4)
    refused(run("cut", other, plan, "--out", out), "another model", "pico 1", "pico 2")
    refused(run("cut", reshaped, plan, "--out", out), "another model")
    refused(run("plan", pico_once, "--fraction", 0.5, "--out", plan), "already exists", "--force")
    refused(run("plan", pico_once, "--fraction", 0.5, "--out", tmp_path / "no" / "p.json"), "no such folder")
    refused(run("plan", pico_once, "--fraction", 0.5, "--out", tmp_path), "is a folder")
    refused(run("plan", pico_once, "--fraction", 1, "--out", out), "removes everything")
    refused(run("plan", pico_once, "--fraction", 0.5, "--protect-layers", "0,x", "--out", out), "not '0,x'")
    refused(run("cut", pico_once, other, "--out", out), "not a plan")
    refused(run("show", plan), "not a GGUF")
    refused(run("cut", other, plan, "--out", other, "--force"), "is the model itself")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.gguf", "plan.json", "reshaped.gguf"]
    assert run("plan", pico_once, "--fraction", 0.5, "--out", plan, "--force").exit_code == 0


def test_a_plan_edited_by_hand_is_refused(pico_once, tmp_path):
    plan = tmp_path / "plan.json"
    planned(pico_once, plan)
    body = json.loads(plan.read_text())
    body["shares"]["parameters"]["after"] -= 1
    plan.write_text(json.dumps(body))
    refused(run("cut", pico_once, plan, "--out", tmp_path / "cut.gguf", "--no-prove"), "edited by hand")


def limited(command, n_bytes):
    """Run with a limit on file size: writing past it fails like a full disk."""
    return subprocess.run(
        [sys.executable, "-m", "epi_surgery", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes)),
    )


@pytest.mark.parametrize("n_bytes", [0, 4096, 1_000_000, 5_000_000])
def test_a_disk_that_fills_up_leaves_nothing(pico_once, tmp_path, n_bytes):
    plan, out = tmp_path / "plan.json", tmp_path / "cut.gguf"
    planned(pico_once, plan)
    done = limited(["cut", pico_once, plan, "--out", out, "--no-prove"], n_bytes)
    assert done.returncode == 1 and "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_disk_too_small_is_seen_before_the_first_byte(pico_once, tmp_path, monkeypatch):
    plan = tmp_path / "plan.json"
    planned(pico_once, plan)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    refused(run("cut", pico_once, plan, "--out", tmp_path / "c.gguf", "--no-prove"), "only 1,000 are free")


# Ctrl-C for the command that follows, at the first file it opens, moves or starts while one with that ending stands there:
# someone who watches from outside misses it on a busy machine.
INTERRUPTING = """
import os, runpy, signal, sys
sign, folder = sys.argv.pop(1), sys.argv.pop(1)
pressed = []
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts tests in the background has it ignored
def press(event, _):
    if event in ("open", "os.rename", "subprocess.Popen") and not pressed:
        if any(name.endswith(sign) for name in os.listdir(folder)):
            pressed.append(event)
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(press)
runpy.run_module("epi_surgery", run_name="__main__")
"""


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("sign", [".part", ".twin"])
def test_interrupted_while_writing_or_proving_it_leaves_nothing(smollm2, tmp_path, sign):
    plan, out = tmp_path / "plan.json", tmp_path / "cut.gguf"
    planned(smollm2, plan, "--criterion", "random", "--fraction", 0.33)
    words = ["cut", smollm2, plan, "--out", out, "--sha256"]
    command = [sys.executable, "-c", INTERRUPTING, sign, tmp_path, *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Aborted" in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_every_command_has_help_with_an_example():
    listed = run("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        assert "Example: epi-surgery " + name in run(name, "--help").output
    assert run("saw").exit_code == 2


def test_importing_the_command_line_loads_no_engine_and_no_torch():
    every = "import sys; from epi_surgery.cli import main, COMMANDS; [main.get_command(None, name) for name in COMMANDS]; "
    code = every + "print([m for m in ('torch', 'transformers', 'llama_cpp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    assert done.stdout.strip() == "[]"
