"""`hookrun overhead --torch`: what the hooks cost a model of transformers, by switching them on and off inside one process."""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from ..comparison import BASELINE, Arm, compare, spread_text
from ..errors import HookrunError
from ..interruption import Interruption
from ..llama.loading import set_wait_policy
from ..program.generation import Generation
from ..program.recorder import Describe
from ..program.spec import ProgramSpec
from ..program.voice import Voice
from ..progress import Bar
from ..sending.recording import Recording
from ..sending.ring import SpanRing
from .adapter import TorchAdapter
from .metadata import engine_version

TOKENS, PROMPT_TOKENS = 1, 13
_TEXT_WIDTH = 16


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return the exit code."""
    wait_policy = set_wait_policy()
    torch = _library("torch")
    torch.set_num_threads(options.threads)
    model = load(options.model)
    # No daemon and no file, but the thread that drains and packs the spans runs as in a real measurement.
    recording = Recording(engine=engine_version(torch))
    bar = Bar(sys.stderr, "comparing", "rounds")
    try:
        with Interruption(recording.courier) as interruption, torch.no_grad():
            recording.begin("overhead", {}, {})
            bench = Bench(torch, model, recording.ring, options.tokens or TOKENS)
            ratios = compare(bench.arms(), options.rounds, random.Random(options.seed), interruption.checked(bar))
            lost = recording.ring.dropped
    finally:
        bar.clear()
        recording.close()
    result = {
        "model": options.model.name,
        "engine": engine_version(torch),
        "threads": options.threads,
        "tokens": bench.tokens,
        "rounds": options.rounds,
        "omp_wait_policy": wait_policy,
        "spans_per_token": bench.spans_per_token,
        "spans_lost": lost,
        "arms": [ratio.to_map() for ratio in ratios],
    }
    print(json.dumps(result) if options.json else _text(result))
    return 0


def load(path: Path) -> Any:
    """Return the model of a GGUF file or a transformers folder, in 32-bit floats."""
    if not path.exists():
        raise HookrunError(f"cannot read the model {path}: there is no such file or folder")
    torch, transformers = _library("torch"), _library("transformers")
    folder, extra = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, **extra)
    except (OSError, ValueError, ImportError) as error:
        raise HookrunError(f"transformers cannot load {path}: {str(error).splitlines()[0]}") from None
    return model.eval()


class Bench:
    """Makes the arms: the same model behind the same prompt, decoding with its classes as they are, or with hooks in them."""

    def __init__(self, torch: ModuleType, model: Any, ring: SpanRing, tokens: int) -> None:
        self.voice, self.generation, self.meeting = Voice(), Generation(), threading.RLock()
        self.spans_per_token: dict[str, float] = {}
        self.tokens = tokens
        self._torch, self._model, self._ring = torch, model, ring
        prompt = torch.arange(1, PROMPT_TOKENS + 1)[None]
        out = model(prompt, use_cache=True)
        self._cache, self._first = out.past_key_values, out.logits[:, -1:].argmax(-1)
        self._state = [dict(vars(layer)) for layer in self._cache.layers]

    def open(self, _engine: str, _label: str, _describe: Describe) -> SpanRing:
        """Stand in for a recorder: every adapter writes into the one ring."""
        return self._ring

    def arms(self) -> list[Arm]:
        """Return the baseline, the baseline once more (so that the noise is seen), and each detail of hooks."""
        hooked = [self._hooked(detail, name) for detail, name in (("layer", "layers"), ("halves", "layers in halves"))]
        bare = [Arm(name, self._decode, before=self._decode) for name in (BASELINE, "nothing, again")]
        return [*bare, *hooked]

    def _hooked(self, detail: str, name: str) -> Arm:
        spec = ProgramSpec(ledger="", label="", command=(), detail=detail)
        adapter = TorchAdapter.attach(self._torch, self, spec)
        self._decode()  # the model is found here, and not in a burst
        pushed = self._ring.pushed
        self._decode()
        self.spans_per_token[name] = (self._ring.pushed - pushed) / self.tokens
        adapter.suspend()

        def before() -> None:
            """A changed class makes the interpreter learn its code anew, so every arm decodes once before it is measured."""
            adapter.resume()
            self._decode()

        return Arm(name, self._decode, before, adapter.suspend)

    def _decode(self) -> None:
        for layer, state in zip(self._cache.layers, self._state, strict=True):
            vars(layer).update(state)
        token = self._first
        for _ in range(self.tokens):
            token = self._model(token, past_key_values=self._cache, use_cache=True).logits[:, -1:].argmax(-1)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HookrunError(f"--torch needs {name}, which cannot be imported here ({error}); install it first") from None


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['model']}, {result['threads']} threads, {result['rounds']} rounds of {result['tokens']} tokens; "
        "tokens/s relative to nothing, median [95 % interval]",
        f"  {'hooks':{_TEXT_WIDTH}} {'by the clock':26} {'by processor time':26} {'ms/token':>9} {'CPU ms':>9} {'spans':>6}",
    ]
    for arm in result["arms"]:
        wall, cpu = spread_text(arm["wall"]), spread_text(arm["cpu"])
        per_token = [arm[key] / result["tokens"] for key in ("wall_ms", "cpu_ms")]
        spans = result["spans_per_token"].get(arm["name"], 0)
        lines.append(f"  {arm['name']:{_TEXT_WIDTH}} {wall:26} {cpu:26} {per_token[0]:9.3f} {per_token[1]:9.3f} {spans:6.1f}")
    lines.append(f"  {result['spans_lost']} spans lost")
    return "\n".join(lines)
