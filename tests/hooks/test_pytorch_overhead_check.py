"""A run's own comparison of on and off, with tokens whose cost is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from hookrun.pytorch.overhead_check import BLOCK, PAIRS, OverheadCheck

from .followed import following, torch_adapters
from .pico import LAYERS, pico

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.mark.parametrize("late", [0, 3])
def test_the_ratio_is_that_of_on_and_off(late: int) -> None:
    check, settings = OverheadCheck(pairs=10), []
    for token in range(40 * BLOCK):
        settings.append(check.inside())
        if token >= late:  # times may be learnt some tokens later
            done = token - late
            switched = done % BLOCK == 0
            check.note((1000 + done) * (125 if settings[done] else 100) * (50 if switched else 1))
    assert check.ratios() == pytest.approx([0.8] * 10, rel=0.02)
    assert "relative to without 0.79" in check.sentence()
    assert all(settings[20 * BLOCK :])
    assert sum(settings[: 20 * BLOCK]) == 10 * BLOCK


def test_too_few_tokens() -> None:
    check = OverheadCheck()
    check.note(5)
    assert check.ratios() == []
    assert "too few" in check.sentence()


def test_a_run_with_its_own_check(tmp_path: Path) -> None:
    model = pico("llama")
    new = 6 * BLOCK + 1
    with following(tmp_path, torch_adapters(torch), overhead_check=True) as run:
        model.generate(torch.arange(1, 6)[None], max_new_tokens=new, do_sample=False, pad_token_id=0)
    with_layers = {row["token"] for row in run.of("ffn")} - {-1}
    assert len(run.of("token")) == new - 1
    assert len(with_layers) == 3 * BLOCK
    assert len(run.of("ffn")) == (3 * BLOCK + 1) * LAYERS
    assert run.begin["settings"]["overhead_check"] == {"block": BLOCK, "pairs": PAIRS}
    assert any("tokens/s with layer spans relative to without" in line for line in run.said)
