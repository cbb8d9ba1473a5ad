"""What people type as a reading of their meter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_tools.calibrate.config_file import record_in, with_channel
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.plan import GAIN, OFFSETS, PHASE, Sensor, parse_steps
from epi_tools.calibrate.quantity import parse_quantity
from epi_tools.calibrate.reference import Given, read_reference


@pytest.mark.parametrize(
    ("text", "watts", "half_digit", "said"),
    [
        ("10.03", 10.03, 0.005, ""),
        (" 10.03 W ", 10.03, 0.005, ""),
        ("10,03", 10.03, 0.005, "10,03 was read as 10.03 W"),
        ("10,0300 w", 10.03, 0.00005, "10,0300 w was read as 10.03 W"),
        ("0.01003 kW", 10.03, 0.005, "0.01003 kW was read as 10.03 W"),
        ("0,01003kW", 10.03, 0.005, "0,01003kW was read as 10.03 W"),
        ("10030 mW", 10.03, 0.0005, "10030 mW was read as 10.03 W"),
        ("10", 10.0, 0.5, ""),
    ],
)
def test_readings_as_they_are_written(text, watts, half_digit, said):
    quantity = parse_quantity(text, "W", "The reference power")
    assert quantity.value == pytest.approx(watts, rel=1e-12)
    assert quantity.half_digit == pytest.approx(half_digit)
    assert quantity.said == said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ten", "is 'ten', which is not a positive number in W: write it like 10.03"),
        ("-10.03", "is not a positive number"),
        ("1.2.3", "is not a positive number"),
        ("1,003", "the comma may part thousands or decimals"),
        ("1.003,5", "is not a positive number"),
        ("10.03 VA", "whose unit is not understood"),
        ("10 MW", "whose unit is not understood"),
        ("0.00", "says nothing about a gain"),
        ("", "is not a positive number"),
        ("nan", "is not a positive number"),
        ("9" * 400, "is not a positive number"),
        ("1e400", "unit is not understood|not a positive number"),
    ],
)
def test_readings_that_cannot_be_meant(text, says):
    with pytest.raises(CalibrationError, match=says):
        parse_quantity(text, "W", "The reference power")


@given(text=st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_sentence(text):
    try:
        quantity = parse_quantity(text, "W", "The reference power")
    except CalibrationError as error:
        assert str(error).endswith(".")
    else:
        assert quantity.value > 0 and math.isfinite(quantity.value)


@given(watts=st.floats(1, 3000))
def test_a_reading_is_right_to_its_half_digit(watts):
    quantity = parse_quantity(f"{watts:.2f}", "W", "The reference power")
    assert abs(quantity.value - watts) <= quantity.half_digit * (1 + 1e-6)


def test_a_reference_carries_what_is_uncertain_about_it():
    reference = read_reference(Given("10.03", "230.1", "1"))
    assert (reference.w, reference.v, reference.pf, reference.is_unity) == (10.03, 230.1, 1.0, True)
    assert reference.within == pytest.approx(0.005 / 10.03 / math.sqrt(3))
    assert not reference.maker_known
    better = read_reference(Given("10.03", within_percent=0.2))
    assert better.within == pytest.approx(math.hypot(0.001, reference.within)) and better.maker_known
    assert math.isnan(better.v)


def test_a_resistor_is_a_reference():
    reference = read_reference(Given(v="230.10", ohm="5290"))
    assert reference.w == pytest.approx(230.10**2 / 5290)
    assert reference.remarks[0].startswith("230.1 V on 5290 ohm are 10.01 W")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (Given(), "There is no reference"),
        (Given(ohm="5290"), "needs its voltage too"),
        (Given(w="0.010 kW"), "0.010 kW' is 10 W to within 0.5 W, which is 5.0%: give it in W with more digits"),
        (Given(w="10"), "give it in W with more digits"),
        (Given(w="10.03", pf="1.2"), "cannot be above 1"),
    ],
)
def test_references_that_are_no_use(given_, says):
    with pytest.raises(CalibrationError, match=says):
        read_reference(given_)


def test_the_angle_of_a_load():
    assert read_reference(Given("10.03", pf="0.5")).tan_phi == pytest.approx(math.sqrt(3))
    assert read_reference(Given("10.03", pf="0.99")).tan_phi == 0


def test_steps_come_in_the_note_s_order():
    assert parse_steps("phase, offsets,gain") == (OFFSETS, GAIN, PHASE)
    with pytest.raises(CalibrationError, match="Step 'dance' is unknown"):
        parse_steps("gain,dance")
    with pytest.raises(CalibrationError, match="unknown"):
        parse_steps("")


def test_the_sensor_s_sensitivity():
    assert Sensor(4, 1000, 6.0).uv_per_a == 24_000


def test_a_channel_of_the_file_changes_and_nothing_else():
    text = '{"sample_hz": 10, "channels": [{"name": "a", "l_gain": 3}, {"name": "b"}]}'
    changed = with_channel(text, 1, 2, {"l_gain": 7, "calibration": {"gain_ppm": 1}})
    first, second = '{"name":"a","l_gain":3}', '{"name":"b","l_gain":7,"calibration":{"gain_ppm":1}}'
    assert changed == '{"sample_hz":10,"channels":[' + first + "," + second + "]}\n"
    assert record_in(changed, 1) == {"gain_ppm": 1} and record_in(changed, 0) is None
    assert with_channel(changed, 0, 2, {"l_gain": None}).startswith('{"sample_hz":10,"channels":[{"name":"a"},')


def test_a_board_without_a_file_gets_one():
    assert with_channel("", 2, 4, {"l_gain": 7}) == '{"channels":[{},{},{"l_gain":7},{}]}\n'
    assert record_in("", 2) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"channels": 3}', '{"channels": [{}]}', '{"channels": [{}, 5]}'])
def test_a_file_that_is_broken_is_left_alone(text):
    with pytest.raises(CalibrationError, match="nothing was stored"):
        with_channel(text, 1, 4, {"l_gain": 7})
