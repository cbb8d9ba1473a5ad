"""Device events: times of the device in the node's clock, learnt later, and never a wait inside a computation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from hookrun.program.ledger import Ledger
from hookrun.program.recorder import Recorder
from hookrun.program.spec import ProgramSpec
from hookrun.pytorch import adapter as adapter_module
from hookrun.pytorch.clocks import DeviceClock

from .fake_device import Device
from .followed import Ear, following, torch_adapters
from .pico import LAYERS, pico

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
PROMPT = torch.arange(1, 6)[None]
STAMPS = 2 * LAYERS + 3  # begin, embedding, two per layer, end


def test_a_device_clock_shows_device_times_in_the_nodes_clock() -> None:
    device = Device()
    clock = DeviceClock(device, device.clock)
    anchored_ns = device.host_ns + device.passed_ns
    first, second = clock.now(), clock.now()
    assert not clock.ready(second)
    device.work_off()
    assert clock.ready(second)
    assert clock.times_ns([first, second]) == [anchored_ns + 1_000_000, anchored_ns + 2_000_000]


def test_events_are_used_again() -> None:
    device = Device()
    clock = DeviceClock(device, device.clock)
    for _ in range(50):
        stamps = [clock.now() for _ in range(STAMPS)]
        clock.wait(stamps[-1])
        clock.times_ns(stamps)
    assert device.made <= STAMPS + 1


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Every model seems to run on this device."""
    device = Device()
    monkeypatch.setattr(adapter_module.TorchAdapter, "_clock", lambda _self, _device: DeviceClock(device, device.clock))
    return device


def test_no_layer_waits_for_the_device(device: Device, tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run:
        model.generate(PROMPT, max_new_tokens=6, do_sample=False, pad_token_id=0)
        during = device.waits
    # Once as the model is met, once at the request's begin, and once per computation left at its end.
    assert during <= 2 + 6
    assert len(run.of("attention")) == LAYERS * 6
    for row in run.of("attention", "ffn"):
        assert row["end_ns"] - row["begin_ns"] == device.work_ns
    tokens = run.of("token")
    assert [row["end_ns"] - row["begin_ns"] for row in tokens] == [(STAMPS - 1) * device.work_ns] * 5
    assert [row["begin_ns"] for row in tokens] == sorted(row["begin_ns"] for row in tokens)


def test_spans_are_written_while_the_program_runs_on(device: Device, tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        for _ in range(3):
            model(PROMPT, use_cache=False)
            device.work_off()  # the device has caught up before the next computation
        waits = device.waits
    assert waits <= 4
    assert [row["count"] for row in run.of("prefill")] == [5, 5, 5]


def test_no_event_is_recorded_while_a_graph_is_captured(device: Device, tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        model(PROMPT, use_cache=False)
        device.capturing = True
        model(PROMPT, use_cache=False)
        device.capturing = False
    assert len(run.of("prefill")) == 1


def test_the_device_of_the_inputs_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modules = {"cuda": Device(), "odd": object()}
    monkeypatch.setattr(torch, "get_device_module", lambda place: modules[place.type])
    ear, spec = Ear(), ProgramSpec(ledger=str(tmp_path), label="", command=())
    adapter = adapter_module.TorchAdapter.attach(torch, Recorder(spec, Ledger.of(spec), ear), spec)
    try:
        clocks = [type(adapter._clock(SimpleNamespace(type=kind))).__name__ for kind in ("cpu", "cuda", "odd")]
    finally:
        adapter.detach()
    assert clocks == ["HostClock", "DeviceClock", "HostClock"]
    assert "odd gives no times of its own" in ear.said[0]
