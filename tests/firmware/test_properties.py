"""Pure parts of the firmware against independent arithmetic and arbitrary input."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from epi_firmware import blocks, config, description
from epi_protocol import messages as m

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["channels", "sample_hz", "name", "l_gain", "x"]), inner)
    ),
    max_leaves=12,
)
CHANNEL = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(min_size=1, max_size=6),
        "mc_imp_per_kwh": st.integers(1000, 10_000_000),
        "current_uv_per_a": st.integers(1, 1_000_000),
        "voltage_uv_per_v": st.integers(1, 100_000),
        "current_gain": st.sampled_from([1, 4, 8, 16, 24]),
        "power_scale": st.integers(1, 64),
        "start_mw": st.integers(1, 100_000),
    },
)


@given(JSON)
def test_any_json_makes_settings_that_run_or_a_sentence(given_settings):
    checked, complaints = config.checked(given_settings)
    assert 1 <= len(checked["channels"]) <= 4
    assert all(isinstance(sentence, str) and sentence for sentence in complaints)
    for channel in checked["channels"]:
        assert config._misfit(channel) == ""


@settings(max_examples=300)
@given(st.lists(CHANNEL, min_size=1, max_size=4))
def test_accepted_settings_fit_the_registers_and_hello(channels):
    checked, _complaints = config.checked({"channels": channels})
    for channel in checked["channels"]:
        words = blocks.metering_block(channel) + blocks.measurement_block(channel)
        assert all(0 <= word <= 0xFFFF for word in words)
    payload = description.hello_payload(b"BOOT", "e661", "1.28.0", "model", False, checked)
    assert len(payload) <= 2560
    for told, channel in zip(m.parse_hello(payload)[1]["channels"], checked["channels"], strict=True):
        assert abs(told["energy_j_per_tick"] * channel["mc_imp_per_kwh"] / 360_000 - 1) < 1e-9


@given(st.integers(0, 1 << 60), st.integers(1, 1 << 40), st.integers(1, 20))
def test_decimals_are_cut_not_bent(numerator, denominator, digits):
    text = description.decimal(numerator, denominator, digits)
    error = Fraction(numerator, denominator) - Fraction(text)
    assert 0 <= error < Fraction(1, 10**digits)


@given(st.integers(1, 1_000_000), st.integers(916, 100_000), st.integers(1000, 10_000_000))
def test_pl_constant_is_the_application_notes_formula(uv_per_a, uv_per_v, mc):
    channel = config.defaults()["channels"][0] | {
        "current_uv_per_a": uv_per_a,
        "voltage_uv_per_v": uv_per_v,
        "mc_imp_per_kwh": mc,
    }
    exact = Fraction(838_860_800 * 24 * uv_per_a * uv_per_v, mc * 10**6)
    assert abs(blocks.pl_constant(channel) - exact) <= Fraction(1, 2)


@given(st.lists(st.integers(0, 0xFFFF), max_size=12))
def test_checksum_is_sum_and_exclusive_or_of_the_bytes(words):
    data = b"".join(word.to_bytes(2, "big") for word in words)
    mixed = 0
    for byte in data:
        mixed ^= byte
    assert blocks.checksum(words) == mixed << 8 | sum(data) % 256
