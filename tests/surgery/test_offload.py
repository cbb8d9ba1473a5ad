"""A model larger than its device ranks as it does in memory: weights wait on disk and come layer by layer."""

import pytest
import torch

from epi_surgery.errors import SurgeryError
from epi_surgery.model import load
from epi_surgery.model.offload import Offload
from epi_surgery.model.stepwise import logits
from epi_surgery.rank.ablation import ablation_scores
from epi_surgery.rank.activation import activation_scores
from epi_surgery.rank.attnlrp import lrp_scores
from epi_surgery.rank.entropy import entropy_scores
from epi_surgery.rank.gradient import gradient_scores
from epi_surgery.rank.journal import Journal
from epi_surgery.rank.l0 import Training, gate_scores
from epi_surgery.rank.movement import movement_scores
from fakes.pico_folder import write_folder

WINDOWS = torch.randint(0, 250, (2, 16), generator=torch.Generator().manual_seed(11))


def nothing(_):
    pass


@pytest.fixture(params=["folder", "tied folder", "gguf"])
def pair(request, tmp_path, pico):
    """The same model in memory, and with room for little more than half of it."""
    tied = request.param == "tied folder"
    path = pico(tied=False) if request.param == "gguf" else write_folder(tmp_path / "m", tied=tied)
    (tmp_path / "disk").mkdir()
    whole = load(path)
    n_bytes = 4 * sum(parameter.numel() for parameter in whole.model.parameters())
    return whole, load(path, offload=Offload(tmp_path / "disk", "cpu", int(0.6 * n_bytes)))


def n_on_disk(loaded):
    return sum(parameter.is_meta for parameter in loaded.model.parameters())


def test_offloaded_models_compute_and_rank_the_same(pair):
    whole, spread = pair
    assert n_on_disk(whole) == 0 < n_on_disk(spread)
    with torch.no_grad():
        torch.testing.assert_close(logits(spread, WINDOWS), logits(whole, WINDOWS))
    for family in (gradient_scores, lrp_scores, activation_scores, entropy_scores):
        one, other = family(whole, WINDOWS, nothing), family(spread, WINDOWS, nothing)
        for name in one:
            torch.testing.assert_close(torch.tensor(other[name]), torch.tensor(one[name]), rtol=1e-4, atol=1e-6)
    one, other = (ablation_scores(loaded, WINDOWS, nothing, Journal(None, "")) for loaded in pair)
    torch.testing.assert_close(torch.tensor(other), torch.tensor(one), rtol=1e-4, atol=1e-5)
    one, other = (gate_scores(loaded, WINDOWS, False, Training(steps=3), nothing) for loaded in pair)
    torch.testing.assert_close(torch.tensor(other), torch.tensor(one), rtol=1e-4, atol=1e-4)
    assert n_on_disk(spread) > 0


def test_a_backward_pass_never_holds_all_layers(pair, monkeypatch):
    """What autograd keeps of an offloaded layer is its input; its weights come a second time."""
    _, spread = pair
    kept = []

    def pack(values):
        kept.append(values.data_ptr())
        return values

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values), torch.enable_grad():
        loss = logits(spread, WINDOWS[:1]).sum()
    inner = {parameter.data_ptr() for parameter in spread.model.model.layers.parameters() if not parameter.is_meta}
    assert not inner & set(kept)
    loss.backward()


def test_what_has_to_change_weights_is_refused(pair):
    with pytest.raises(SurgeryError, match="whole in memory"):
        movement_scores(pair[1], WINDOWS, nothing)


def test_a_folder_that_does_not_exist(pico, tmp_path):
    with pytest.raises(SurgeryError, match="no such folder"):
        load(pico(), offload=Offload(tmp_path / "none", "cpu", 1 << 20))


def test_a_device_that_does_not_exist(pico, tmp_path):
    with pytest.raises(SurgeryError, match=r"no accelerator 99 here .* --device cpu"):
        load(pico(), offload=Offload(tmp_path, 99, 1 << 20))
