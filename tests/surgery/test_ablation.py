"""The oracle against models whose head really is gone; its journal through crashes."""

import json

import pytest
import torch

from epi_surgery.errors import SurgeryError
from epi_surgery.model import load
from epi_surgery.model.stepwise import logits, token_losses
from epi_surgery.rank.ablation import ablation_scores
from epi_surgery.rank.journal import Journal
from fakes.pico_folder import write_folder

WINDOWS = torch.randint(0, 250, (2, 16), generator=torch.Generator().manual_seed(6))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load(write_folder(tmp_path_factory.mktemp("ablation") / "m", "qwen3"))


def oracle(loaded, journal=None):
    return ablation_scores(loaded, WINDOWS, lambda _: None, journal or Journal(None, ""))


@torch.no_grad()
def loss(loaded):
    return token_losses(logits(loaded, WINDOWS), WINDOWS).double().mean().item()


def test_each_score_is_the_loss_of_a_model_without_that_head(loaded):
    found, base = oracle(loaded), loss(loaded)
    for layer in loaded.layers:
        for head in range(6):
            before = layer.o.weight.data.clone()
            layer.o.weight.data[:, head * 16 : head * 16 + 16] = 0
            assert found[layer.index][head] == pytest.approx(loss(loaded) - base, abs=1e-5)
            layer.o.weight.data.copy_(before)


class Crash(Exception):
    pass


def test_a_crashed_ranking_goes_on_where_it_stopped(loaded, tmp_path):
    path = tmp_path / "s.json.journal"

    def crash_in_layer_2(_):
        done.append(1)
        if len(done) == 2:
            raise Crash

    done = []
    with pytest.raises(Crash), Journal(path, "key") as journal:
        ablation_scores(loaded, WINDOWS, crash_in_layer_2, journal)
    path.write_text(path.read_text() + '{"layer": 2, "sco')
    with Journal(path, "key") as journal:
        assert sorted(journal.rows) == [0, 1]
        assert oracle(loaded, journal) == oracle(loaded)
    assert [json.loads(line).get("layer") for line in path.read_text().splitlines()] == [None, 0, 1, 2]


def test_finished_layers_are_not_measured_again(loaded, tmp_path):
    with Journal(tmp_path / "j", "key") as journal:
        journal.note(1, [7.0] * 6)
    with Journal(tmp_path / "j", "key") as journal:
        assert oracle(loaded, journal)[1] == (7.0,) * 6


def test_a_journal_of_something_else_is_refused_and_kept(tmp_path):
    with Journal(tmp_path / "j", "one") as journal:
        journal.note(0, [1.0])
    before = (tmp_path / "j").read_text()
    with pytest.raises(SurgeryError, match="another model, text or setting"), Journal(tmp_path / "j", "other"):
        pass
    assert (tmp_path / "j").read_text() == before
