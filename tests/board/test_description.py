"""HELLO of the board: exact decimals, and every key that the host reads."""

from epi_firmware import VERSION, config, description
from epi_protocol import messages


def hello(settings=None):
    payload = description.hello_payload(b"BOOT", "e661", "1.28.0", 'Pico "2"', True, settings or config.defaults())
    return payload, messages.parse_hello(payload)


def test_decimals_are_exact():
    for numerator, denominator, text in (
        (360_000, 1_000_000, "0.36"),
        (360_000, 3_200, "112.5"),
        (1, 16, "0.0625"),
        (1, 16_000, "0.0000625"),
        (7, 7, "1"),
        (1, 3, "0.333333333333"),
        (0, 5, "0"),
        (1 << 70, 1, "1180591620717411303424"),
    ):
        assert description.decimal(numerator, denominator) == text
    assert description.decimal(2, 3, 1) == "0.6"


def test_the_board_is_described():
    payload, (boot_id, board) = hello()
    assert boot_id == b"BOOT" and len(payload) < 1900
    assert board["board_id"] == "e661" and board["firmware"] == VERSION
    assert board["micropython"] == "1.28.0" and board["machine"] == 'Pico "2"'
    assert board["simulated"] is True
    assert board["ticks_hz"] == 1_000_000 and board["ticks_wrap"] == 1073741824
    assert board["sample_hz"] == 20


def test_the_channels_are_described():
    _payload, (_boot_id, board) = hello()
    assert [channel["name"] for channel in board["channels"]] == ["pi1", "pi2", "pi3", "pi4"]
    channel = board["channels"][0]
    assert board["chip"] == "ATM90E26" and channel["mc_imp_per_kwh"] == 1_000_000
    assert abs(channel["energy_j_per_tick"] - 0.36) < 1e-6
    assert board["energy_wrap_ticks"] == 65536
    assert abs(channel["energy_wrap_s_at_15w"] - 1572.8) < 0.1
    for name, value in (("p_w", 0.0625), ("q_var", 0.0625), ("s_va", 0.0625), ("u_v", 0.01), ("i_a", 6.25e-5), ("start_w", 0.2)):
        assert abs(channel[name] - value) < 1e-6 * value + 1e-12, name


def test_every_quantity_is_a_field_with_unit_and_format():
    _payload, (_boot_id, board) = hello()
    fields = [name for name, _kind, _meaning in messages.CHANNEL_FIELDS]
    assert [quantity["name"] for quantity in board["quantities"]] == ["p", "q", "s", "u", "i", "pf", "freq", "forward", "reverse"]
    for quantity in board["quantities"]:
        assert quantity["name"] in fields and quantity["unit"] and quantity["format"]


def test_the_record_of_a_calibration_is_passed_on_as_it_stands():
    record = {"gain_ppm": 12660, "within_ppm": 400, "utc": "2026-11-22", "turns": 4}
    settings, complaints = config.checked({"channels": [{"calibration": record}, {}]})
    _payload, (_boot_id, board) = hello(settings)
    assert complaints == []
    assert board["channels"][0]["calibration"] == record and "calibration" not in board["channels"][1]


def test_a_record_that_is_none_is_left_out_with_a_sentence():
    for wrong in (7, "x", [1], {"ct": "x" * 120}):
        settings, complaints = config.checked({"channels": [{"calibration": wrong}]})
        assert settings["channels"][0]["calibration"] is None
        assert len(complaints) == 1 and "is no record of at most 120 bytes" in complaints[0]


def test_the_longest_names_and_numbers_still_fit():
    channel = {"name": '"' * 24, "mc_imp_per_kwh": 9_999_999, "power_scale": 7, "start_mw": 333}
    channel["calibration"] = {"gain_ppm": 12660, "ct": "x" * 92}
    payload, (_boot_id, board) = hello(config.checked({"channels": [channel] * 4})[0])
    assert len(payload) < 2560
    assert board["channels"][3]["name"] == '"' * 24
