"""Joules per layer against layers of known watts; and no figure where the design cannot tell layers apart."""

import numpy as np
import pytest

from epid.analysis.lag.lag import Lag
from epid.analysis.layers.energy import layer_energies
from epid.analysis.layers.layer import HALVES_NOT_IDENTIFIABLE, NOT_IDENTIFIABLE, TOO_SELDOM
from epid.analysis.metering.gain import Gain
from epid.analysis.metering.idle import Idle
from epid.analysis.metering.registers import registers_of
from epid.analysis.windows.parts import conservation_of
from epid.analysis.windows.tally import Tally
from fakes.profile import Profile, metered, spans

N_LAYER, WINDOW_S = 6, 0.32
DECODE = 5
HALVES = (("attention", 0.4), ("ffn", 0.6))


class Model:
    """A node that decodes: every layer has its own watts, and `chosen` layers are drawn at random to be computed once more.

    `apart_w`: attention draws so much more than the mean of both halves, and feed-forward halves so much less; where it is given,
    each half has its own watts, and every second repeat is of the attention half alone.
    """

    def __init__(self, rng, chosen=range(N_LAYER), tokens=700, layer_s=0.008, spread=0.12, apart_w=None):
        self.rng, self.chosen, self.halved = rng, list(chosen), apart_w is not None
        self.watts = 8.5 * (1 + spread * rng.standard_normal((N_LAYER, 1))) * np.ones(2)
        if self.halved:
            self.watts = 8.5 * (1 + spread * rng.standard_normal((N_LAYER, 2))) + np.array([apart_w, -apart_w])
        self.edges, self.levels, self.rows = [0.0], [], []
        self.energy_j, self.halves_j, self.tokens = np.zeros(N_LAYER), np.zeros((N_LAYER, 2)), tokens
        self._lie(1.0, 3.4, "")
        self._lie(5.0, 3.4, "idle")
        begin_s = self.edges[-1]
        for token in range(tokens):
            self._token(token, layer_s)
        self.rows.append(("decode", begin_s, self.edges[-1], {"request": 0, "count": tokens}))
        self._lie(5.0, 3.4, "idle")
        self._lie(1.0, 3.4, "")
        self.profile = Profile(np.array(self.edges), np.array(self.levels))

    def _lie(self, seconds, watts, kind, **more):
        begin_s = self.edges[-1]
        self.edges.append(begin_s + seconds)
        self.levels.append(watts)
        if kind:
            self.rows.append((kind, begin_s, begin_s + seconds, more))
        return seconds * watts

    def _token(self, token, layer_s):
        begin_s, again = self.edges[-1], self.rng.choice(self.chosen) if self.chosen and self.rng.random() < 0.9 else None
        shared = {"phase": DECODE, "request": 0, "token": token, "count": 1}
        for layer in range(N_LAYER):
            for half, (kind, share) in enumerate(HALVES):
                lasts_s = layer_s * share * (1 + 0.02 * self.rng.standard_normal())
                self.halves_j[layer, half] += self._lie(lasts_s, self.watts[layer, half], kind, layer=layer, **shared)
            if layer == again:
                self._again(layer, layer_s, shared)
        self.energy_j = self.halves_j.sum(axis=1)
        self._lie(0.004, 7.0, "head", **shared)
        self.rows.append(("token", begin_s, self.edges[-1], shared))

    def _again(self, layer, layer_s, shared):
        if not self.halved:
            self._lie(layer_s, self.watts[layer, 0], "repeat", layer=layer, **shared)
            return
        alone = self.rng.random() < 0.5
        for half, (kind, share) in enumerate(HALVES[: 1 if alone else 2]):
            self._lie(layer_s * share, self.watts[layer, half], f"repeat_{kind}", layer=layer, **shared)

    def found(self, lag=True, gain_sd=0.0):
        """(layers, decode, conservation) as the analysis sees them."""
        table = spans(self.rows)
        track = metered(self.profile, self.rng, window_s=WINDOW_S, gain=1 + gain_sd * self.rng.standard_normal())
        registers = registers_of(track, table)
        decode = Tally(registers, Gain(gain_sd, 0.0, "drawn", True), Idle(3.4, 0.002, 8.6)).of(table, "decode")
        known = Lag(0.0, WINDOW_S, 0.001, 0.0) if lag else None
        energies = layer_energies(registers, track, table, decode, known, 1.0, gain_sd)
        return energies.layers, decode, conservation_of(registers, table, energies.parts)


def test_intervals_hold_the_truth_and_errors_are_a_few_percent():
    held, errors = [], []
    for seed in range(14):
        model = Model(np.random.default_rng(seed))
        layers, _decode, conservation = model.found(gain_sd=0.0005)
        truth = model.energy_j / model.tokens
        assert all(layer.by_regression.known for layer in layers)
        held += [layer.by_regression.holds(true) for layer, true in zip(layers, truth, strict=True)]
        errors += [abs(layer.by_regression.value / true - 1) for layer, true in zip(layers, truth, strict=True)]
        assert conservation.holds, conservation
    assert 0.90 <= np.mean(held) <= 1.0
    assert np.median(errors) < 0.02 and np.quantile(errors, 0.95) < 0.05


def test_regression_finds_what_a_share_of_the_time_cannot_see():
    model = Model(np.random.default_rng(101), spread=0.2)
    layers, _decode, _conservation = model.found()
    truth = model.energy_j / model.tokens
    by_regression = np.array([layer.by_regression.value for layer in layers])
    by_time = np.array([layer.by_time.value for layer in layers])
    assert np.abs(by_regression / truth - 1).max() < 0.5 * np.abs(by_time / truth - 1).max()


def test_without_repetition_no_layer_is_claimed_however_long_the_run():
    layers, decode, conservation = Model(np.random.default_rng(7), chosen=(), tokens=1500).found()
    assert [layer.by_regression.reason for layer in layers] == [NOT_IDENTIFIABLE] * N_LAYER
    assert all(layer.attention.reason == NOT_IDENTIFIABLE for layer in layers)
    assert sum(layer.by_time.value for layer in layers) < decode.per_token.value
    assert conservation.holds


def test_only_layers_that_were_repeated_are_claimed():
    layers, _decode, _conservation = Model(np.random.default_rng(8), chosen=(1, 4), tokens=1200).found()
    assert [layer.layer for layer in layers if layer.by_regression.known] == [1, 4]
    assert layers[1].attention.reason == HALVES_NOT_IDENTIFIABLE


@pytest.mark.parametrize("apart_w", [0.0, 2.0])
def test_repeated_halves_are_told_apart_and_their_intervals_hold_the_truth(apart_w):
    halves, wholes = [], []
    for seed in range(8):
        model = Model(np.random.default_rng(seed), apart_w=apart_w)
        layers, _decode, conservation = model.found(gain_sd=0.0005)
        truth = model.halves_j / model.tokens
        for layer, (attention_j, ffn_j) in zip(layers, truth, strict=True):
            halves += [(layer.attention, attention_j), (layer.ffn, ffn_j)]
            wholes.append((layer.by_regression, attention_j + ffn_j))
        assert conservation.holds, conservation
    assert all(found.known for found, _true in halves + wholes)
    assert np.mean([found.holds(true) for found, true in halves]) >= 0.88
    assert np.mean([found.holds(true) for found, true in wholes]) >= 0.88
    errors = [abs(found.value / true - 1) for found, true in halves]
    assert np.median(errors) < 0.025 and np.quantile(errors, 0.95) < 0.06


def test_halves_that_were_repeated_too_seldom_are_refused():
    layers, _decode, _conservation = Model(np.random.default_rng(3), tokens=45, apart_w=1.0).found(lag=False)
    assert all(half.reason == TOO_SELDOM for layer in layers for half in (layer.attention, layer.ffn) if layer.repeats)


def test_a_run_that_repeats_both_layers_and_halves_claims_nothing():
    model = Model(np.random.default_rng(4), tokens=300, apart_w=0.0)
    _name, begin, end, more = next(row for row in model.rows if row[0] == "repeat_attention")
    model.rows.append(("repeat", begin, end, more))
    layers, _decode, _conservation = model.found()
    assert all(layer.by_regression.reason == NOT_IDENTIFIABLE for layer in layers)


def test_repeats_too_few_to_resolve_a_layer_are_refused():
    layers, _decode, _conservation = Model(np.random.default_rng(9), tokens=40).found(lag=False)
    assert not any(layer.by_regression.known for layer in layers)
    assert min(layer.resolution for layer in layers) > 0.05


def test_the_registers_alone_do_without_a_known_lag_with_wider_intervals():
    model = Model(np.random.default_rng(10), tokens=3000, layer_s=0.02)
    with_lag, without = (model.found(lag=lag)[0] for lag in (True, False))
    known = [layer for layer in without if layer.by_regression.known]
    assert known
    truth = model.energy_j / model.tokens
    for layer in known:
        assert layer.by_regression.sd > with_lag[layer.layer].by_regression.sd
        assert abs(layer.by_regression.value - truth[layer.layer]) < 4 * layer.by_regression.sd


def test_medians_and_counts_are_those_of_the_spans():
    model = Model(np.random.default_rng(12), tokens=60)
    layers, _decode, _conservation = model.found()
    for layer in layers:
        mine = [row for row in model.rows if row[3].get("layer") == layer.layer]
        lasts = {kind: [end - begin for name, begin, end, _more in mine if name == kind] for kind in ("attention", "repeat")}
        assert layer.attention_us == pytest.approx(np.median(lasts["attention"]) * 1e6, rel=1e-4)
        assert layer.repeats == len(lasts["repeat"])
