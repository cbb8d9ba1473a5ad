"""The program's own objects and classes: never touched, or put back; its errors its own."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookrun.program.patches import Patches
from hookrun.program.tracebacks import without_hooks

from .followed import following, torch_adapters
from .pico import LAYERS, pico

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
PROMPT = torch.arange(1, 6)[None]
HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
)


def classes(model: Any) -> Iterator[type]:
    seen = {base for module in model.modules() for base in type(module).__mro__}
    yield from sorted(seen, key=lambda cls: (cls.__module__, cls.__qualname__))


def state(model: Any) -> dict[Any, Any]:
    """Everything that could tell that we were here: attributes of classes and objects by identity, hook tables, global hooks."""
    from transformers.generation.utils import GenerationMixin

    owned = {("class", cls, name): id(value) for cls in {*classes(model), GenerationMixin} for name, value in vars(cls).items()}
    # What Python and torch themselves add to a class as they go.
    owned = {key: value for key, value in owned.items() if key[2] not in ("__abstractmethods__", "_abc_impl", "__annotations__")}
    for path, module in model.named_modules():
        owned |= {("object", path, name): id(value) for name, value in vars(module).items()}
        owned |= {("hooks", path, table): dict(getattr(module, table)) for table in HOOKS}
    tables = torch.nn.modules.module
    return owned | {("global", name): repr(value) for name, value in vars(tables).items() if name.startswith("_global_")}


def test_everything_is_as_before_after_detaching(tmp_path: Path) -> None:
    model = pico("gemma3_text")
    model.generate(PROMPT, max_new_tokens=3, do_sample=False)
    before = state(model)
    with following(tmp_path, torch_adapters(torch)) as run:
        model.generate(PROMPT, max_new_tokens=3, do_sample=False)
        during = state(model)
    assert run.of("attention")
    assert state(model) == before
    changed = {key for key in during if during[key] != before.get(key)}
    assert {key[0] for key in changed} == {"class"}, "objects of the program must stay untouched even meanwhile"


def test_a_model_can_be_copied_pickled_and_let_go(tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        expected = model(PROMPT).logits
        twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
        assert torch.equal(twin(PROMPT).logits, expected)
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None
    assert len(run.of("attention")) == LAYERS
    assert "a second model is called" in run.said[0]


def test_an_error_in_the_model_is_the_programs_own(tmp_path: Path) -> None:
    model = pico("llama")

    def fail() -> list[str]:
        with pytest.raises(IndexError) as caught:
            model(torch.tensor([[9999]]))
        return [frame.name for frame in traceback.extract_tb(without_hooks(caught.value.__traceback__))]

    with torch.no_grad():
        plain = fail()
        with following(tmp_path, torch_adapters(torch)) as run:
            seen = fail()
            model(PROMPT)
    assert [name for name in seen if name != "_wrapped_call_impl"] == [name for name in plain if name != "_wrapped_call_impl"]
    assert [row["request"] for row in run.of("request")] == [1]


def test_what_the_program_replaced_meanwhile_stays_the_programs() -> None:
    class Owner:
        kept = "first"

    patches = Patches()
    patches.set(Owner, "kept", "ours")
    patches.set(Owner, "new", "ours")
    Owner.kept = "theirs"
    patches.suspend()
    assert (Owner.kept, hasattr(Owner, "new")) == ("theirs", False)
    patches.resume()
    assert (Owner.kept, Owner.new) == ("ours", "ours")  # type: ignore[attr-defined]
    patches.restore()
    assert (Owner.kept, hasattr(Owner, "new")) == ("theirs", False)


def test_a_model_on_the_meta_device_is_left_out(tmp_path: Path) -> None:
    with torch.device("meta"):
        nowhere = pico("llama")
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        nowhere(PROMPT.to("meta"))
        model(PROMPT)
    assert "meta device" in run.said[0]
    assert len(run.of("request")) == 1


def test_a_cut_model_is_learnt_again(tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        model(PROMPT, use_cache=False)
        del model.model.layers[1]
        model(PROMPT, use_cache=False)
    assert [(row["request"], row["layer"]) for row in run.of("ffn")] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_a_second_thread_in_the_same_model_spoils_no_spans(tmp_path: Path) -> None:
    model = pico("llama")
    inside, go_on = threading.Event(), threading.Event()

    class Stop(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            if threading.current_thread().name == "first":
                inside.set()
                go_on.wait(10)
            return x

    model.model.layers[1].mlp.act_fn = Stop()
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        model(PROMPT, use_cache=False)
        first = threading.Thread(target=lambda: model(PROMPT, use_cache=False), name="first")
        with torch.no_grad():
            first.start()
            assert inside.wait(10)
            model(PROMPT, use_cache=False)
            go_on.set()
            first.join()
    assert len(run.of("ffn")) == LAYERS, "the layers of two overlapping computations cannot be told apart"
    assert len(run.of("request")) == 2
    assert [line for line in run.said if "two threads are inside this model" in line]


def test_modules_that_are_no_models_are_left_alone(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    with following(tmp_path, torch_adapters(torch)) as run:
        net(torch.zeros(1, 4))
    assert (run.rows, run.begin) == ([], {})
    assert "no model" in run.said[-1]


def test_a_list_of_blocks_of_ones_own(tmp_path: Path) -> None:
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.attn, self.ln_2, self.mlp = nn.LayerNorm(8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class Gpt(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.transformer = nn.ModuleDict({"wte": nn.Embedding(9, 8), "h": nn.ModuleList(Block() for _ in range(2))})

        def forward(self, idx: Any) -> Any:
            x = self.transformer["wte"](idx)
            for block in self.transformer["h"]:
                x = block(x)
            return x

    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        Gpt()(torch.tensor([[1, 2, 3]]))
    spans = [(row["kind"], row["layer"]) for row in run.rows]
    halves = [("attention", 0), ("ffn", 0), ("attention", 1), ("ffn", 1)]
    assert spans[:6] == [("embedding", -1), *halves, ("head", -1)]
