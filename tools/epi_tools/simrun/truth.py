"""A truth: everything about a node, its model and its meter that the analysis is not told. Read from TOML, checked in every key.

    [model]       n_layer = 12, heads = 16, kv_heads = 4
    [workload]    requests = 4, tokens = 60, idle_s = 6
    [power]       idle_w = 3.4, attention_w = 4.0, ffn_w = [5.0, 5.1, …]

Whatever is left out has the default below. `[arms.NAME.…]` holds what is different in a second model: its pruned twin, say.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from epi_tools.simrun.errors import TruthError

BASE_ARM = "baseline"
LAYOUTS, TARGETS = ("balanced", "groups"), ("all", "early", "late")
PerLayer = float | tuple[float, ...]

_PLAIN = {str: "text", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Model:
    """Shape of the decoder, and what was cut out of it: `pruned` is the share of query heads gone from `pruned_layers`.

    `layout` is balanced (as many query heads from every KV group) or groups (whole groups with their keys and values).
    """

    name: str = "simulated-decoder"
    n_layer: int = 8
    heads: int = 16
    kv_heads: int = 4
    n_embd: int = 1024
    n_ff: int = 4096
    n_vocab: int = 8000
    pruned: float = 0.0
    pruned_layers: str = "all"
    layout: str = "balanced"


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs: `requests` answers of `tokens` tokens, `repeats` extra layers in each token, idle and load pattern around.

    With `repeat_halves` every second of these is of a layer's attention half alone, and the halves are told apart.
    """

    requests: int = 4
    prompt_tokens: int = 32
    tokens: int = 60
    gap_s: float = 0.4
    idle_s: float = 6.0
    pattern_s: float = 6.0
    repeats: int = 0
    repeat_halves: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds of one token: each half of a layer, and what surrounds the layers.

    A half takes `jitter` (relative standard deviation) more or less each time, a token `token_jitter`, a run `run_spread`;
    `layer_spread` tells layers of one shape apart. Attention grows by `attention_us_per_position`. Where heads were cut,
    `saved` of their share of the attention's time goes with them.
    """

    attention_us: PerLayer = 870.0
    ffn_us: PerLayer = 4200.0
    embedding_us: float = 60.0
    head_us: float = 2700.0
    between_us: float = 350.0
    attention_us_per_position: float = 4.0
    prefill_speedup: float = 4.0
    saved: float = 0.8
    layer_spread: float = 0.0
    jitter: float = 0.02
    token_jitter: float = 0.015
    run_spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Power:
    """Watts at the socket, each above `idle_w`; `prefill_factor` multiplies all of them while the prompt goes through.

    The node warms by `c_per_w` with time constant `thermal_s` and leaks `leak_w_per_c` above `ambient_c`. `noise_w` wanders
    with time constant `noise_s`; `run_spread` is the relative standard deviation from run to run. `rise` is by how much all
    layers draw more (0.05: 5 %), which is what compensation would look like.
    """

    idle_w: float = 3.4
    attention_w: PerLayer = 4.2
    ffn_w: PerLayer = 5.4
    other_w: float = 3.6
    sync_w: float = 1.2
    burn_w: float = 6.8
    prefill_factor: float = 1.15
    layer_spread: float = 0.12
    rise: float = 0.0
    run_spread: float = 0.0
    ambient_c: float = 24.0
    c_per_w: float = 4.0
    thermal_s: float = 60.0
    leak_w_per_c: float = 0.005
    noise_w: float = 0.05
    noise_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of `n` questions that the model truly answers, `value` over all there could be; n = 0: none were asked."""

    task: str = "blimp"
    value: float = 0.72
    n: int = 4000


@dataclass(frozen=True, slots=True)
class Meter:
    """The meter's own errors. `gain_within` is what its calibration claims, two standard deviations; the gain is drawn so."""

    sample_hz: int = 20
    gain_within: float = 0.001
    refresh_ms: float = 40.0
    window_ms: float = 320.0
    noise_w: float = 0.01
    crystal_ppm: float = 30.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """How far the clocks run apart, and how long messages take: uniform delays of each leg, in milliseconds."""

    node_ppm: float = 12.0
    board_ppm: float = -25.0
    usb_ms: float = 1.0
    net_ms: float = 0.25


@dataclass(frozen=True, slots=True)
class Truth:
    """One arm of an experiment, all that is hidden about it."""

    arm: str = BASE_ARM
    model: Model = field(default_factory=Model)
    workload: Workload = field(default_factory=Workload)
    timing: Timing = field(default_factory=Timing)
    power: Power = field(default_factory=Power)
    accuracy: Accuracy = field(default_factory=Accuracy)
    meter: Meter = field(default_factory=Meter)
    clocks: Clocks = field(default_factory=Clocks)

    def changed(self, **sections: Mapping[str, Any]) -> Truth:
        """The same truth with some values replaced: `truth.changed(power={"idle_w": 3.0})`."""
        return replace(self, **{name: replace(getattr(self, name), **values) for name, values in sections.items()})


SECTIONS = tuple(item.name for item in fields(Truth) if item.name != "arm")


def read_truths(path: Path) -> list[Truth]:
    """Return the arms in a TOML file, the baseline first. Raises TruthError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TruthError(f"Cannot read the truth {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TruthError(f"{path} is not TOML: {error}.") from error
    return parse_truths(content, str(path))


def parse_truths(content: Mapping[str, Any], where: str) -> list[Truth]:
    """Return the arms in parsed TOML; `where` names the file in complaints. Raises TruthError."""
    arms = content.get("arms", {})
    base = _apply(Truth(), {name: value for name, value in content.items() if name != "arms"}, where)
    if not isinstance(arms, Mapping) or not all(isinstance(changes, Mapping) for changes in arms.values()):
        raise TruthError(f"{where}: [arms] must hold one table per arm, like [arms.pruned.model].")
    if BASE_ARM in arms:
        raise TruthError(f"{where}: the arm '{BASE_ARM}' is the file itself; give the other arm another name.")
    others = [replace(_apply(base, changes, f"{where}: arm {name}"), arm=name) for name, changes in arms.items()]
    return [base, *others]


def _apply(truth: Truth, changes: Mapping[str, Any], where: str) -> Truth:
    for name, values in changes.items():
        if name not in SECTIONS or not isinstance(values, Mapping):
            raise TruthError(f"{where}: there is no section [{name}]; the sections are {', '.join(SECTIONS)}.")
        section = getattr(truth, name)
        checked = {key: _value(type(section), key, value, f"{where}: [{name}]") for key, value in values.items()}
        truth = replace(truth, **{name: replace(section, **checked)})
    _check(truth, where)
    return truth


def _value(section: type, key: str, value: Any, where: str) -> Any:
    kinds: dict[str, Any] = get_type_hints(section)
    if key not in kinds:
        raise TruthError(f"{where} has no key '{key}'; its keys are {', '.join(kinds)}.")
    kind = kinds[key]
    if kind == PerLayer and isinstance(value, list):
        return tuple(_number(item, f"{where} {key}") for item in value)
    if kind not in _PLAIN:
        return _number(value, f"{where} {key}")
    if type(value) is not kind:
        raise TruthError(f"{where} {key} is {value!r} and has to be {_PLAIN[kind]}.")
    return value


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TruthError(f"{what} is {value!r} and has to be a number.")
    return float(value)


def _check(truth: Truth, where: str) -> None:
    model, work = truth.model, truth.workload
    if model.n_layer < 1 or model.kv_heads < 1 or model.heads % model.kv_heads:
        raise TruthError(f"{where}: {model.heads} heads in {model.n_layer} layers do not fit {model.kv_heads} KV heads.")
    if not 0 <= model.pruned < 1:
        raise TruthError(f"{where}: [model] pruned is the share of heads removed, from 0 up to but not 1, not {model.pruned:g}.")
    if model.layout not in LAYOUTS or model.pruned_layers not in TARGETS:
        raise TruthError(f"{where}: [model] layout is one of {', '.join(LAYOUTS)}, pruned_layers one of {', '.join(TARGETS)}.")
    for name in ("attention_us", "ffn_us"):
        _check_per_layer(getattr(truth.timing, name), model.n_layer, f"{where}: [timing] {name}")
    for name in ("attention_w", "ffn_w"):
        _check_per_layer(getattr(truth.power, name), model.n_layer, f"{where}: [power] {name}")
    if min(work.requests, work.tokens) < 1 or min(work.prompt_tokens, work.repeats, work.idle_s, work.gap_s, work.pattern_s) < 0:
        raise TruthError(f"{where}: [workload] needs at least one request of one token, and nothing below 0.")
    if not 1 <= truth.meter.sample_hz <= 40:
        raise TruthError(f"{where}: [meter] sample_hz is {truth.meter.sample_hz}; the firmware sweeps 1 to 40 times a second.")
    if not 0 < truth.accuracy.value <= 1:
        raise TruthError(f"{where}: [accuracy] value is {truth.accuracy.value:g} and has to lie above 0 and not above 1.")


def _check_per_layer(value: PerLayer, n_layer: int, where: str) -> None:
    values: tuple[float, ...] = value if isinstance(value, tuple) else (value,)
    if isinstance(value, tuple) and len(value) != n_layer:
        raise TruthError(f"{where} lists {len(value)} values for {n_layer} layers.")
    if any(item < 0 for item in values):
        raise TruthError(f"{where} is below 0.")
