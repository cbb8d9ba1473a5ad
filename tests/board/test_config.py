"""Settings: no file is needed, and a wrong one is named in a sentence and never obeyed."""

import json
import os

from epi_firmware import config

PATH = "config.under-test.json"


def complaints_of(given):
    return config.checked(given)[1]


def test_defaults_are_complete_and_fit():
    settings, complaints = config.checked({})
    assert not complaints and settings == config.defaults()
    assert [channel["name"] for channel in settings["channels"]] == ["pi1", "pi2", "pi3", "pi4"]
    assert settings["sample_hz"] == 20


def test_no_file_is_no_complaint():
    assert config.load("there-is-no-such.json") == (config.defaults(), [])


def test_a_file_is_read():
    with open(PATH, "w") as file:
        file.write(json.dumps({"sample_hz": 10, "channels": [{"name": "left", "mc_imp_per_kwh": 3200, "start_mw": 500}]}))
    settings, complaints = config.load(PATH)
    os.remove(PATH)
    assert not complaints
    assert settings["sample_hz"] == 10 and len(settings["channels"]) == 1
    assert settings["channels"][0]["name"] == "left" and settings["channels"][0]["mc_imp_per_kwh"] == 3200
    assert settings["channels"][0]["power_scale"] == 16


def test_a_file_that_is_no_json():
    with open(PATH, "w") as file:
        file.write("{sample_hz: 10}")
    settings, complaints = config.load(PATH)
    os.remove(PATH)
    assert settings == config.defaults()
    assert complaints == [PATH + " is not JSON; the defaults are used"]


def test_what_is_wrong_is_named_and_the_default_used():
    for given, sentence in (
        ([], "is no JSON object"),
        ({"sample_hz": 900}, "sample_hz is 900 and has to be a whole number from 1 to 40; 20 is used"),
        ({"sample_hz": 20.5}, "sample_hz is 20.5"),
        ({"sample_hz": True}, "sample_hz is true"),
        ({"sample_hz": "20"}, 'sample_hz is "20"'),
        ({"samplerate": 20}, "samplerate is not a setting; it is ignored"),
        ({"channels": []}, "channels has to be a list of 1 to 4 objects"),
        ({"channels": {}}, "channels has to be a list of 1 to 4 objects"),
    ):
        settings, complaints = config.checked(given)
        assert len(complaints) == 1 and sentence in complaints[0], (given, complaints)
        assert settings == config.defaults(), given


def test_what_is_wrong_in_a_channel_is_named():
    for channel, sentence in (
        (7, "channel 1 is no JSON object"),
        ({"name": ""}, "channel 1: name has to be text of 1 to 24 bytes"),
        ({"name": "x" * 25}, "channel 1: name has to be text"),
        ({"l_gain": 65536}, "channel 1: l_gain is 65536"),
        ({"current_gain": 3}, "channel 1: current_gain has to be 1, 4, 8, 16 or 24"),
        ({"start_mw": 5000}, "start_mw makes a threshold of 268436"),
        ({"voltage_uv_per_v": 100}, "Ugain would be 300000"),
        ({"current_uv_per_a": 200}, "Igain would be 500016"),
        ({"mc_imp_per_kwh": 1000, "current_uv_per_a": 1000000}, "PLconst would be"),
    ):
        settings, complaints = config.checked({"channels": [channel]})
        assert len(complaints) == 1 and sentence in complaints[0], (channel, complaints)
        assert settings["channels"] == config.defaults()["channels"][:1]


def test_a_name_survives_wrong_numbers_beside_it():
    settings, _complaints = config.checked({"channels": [{"name": "nas", "start_mw": 5000}]})
    assert settings["channels"][0]["name"] == "nas"


def test_every_default_lies_within_its_limits():
    for table in (config._BOARD, config._CHANNEL):
        for name, (default, least, most) in table.items():
            assert least <= default <= most, name


def test_a_wifi_needs_name_and_password_and_its_sentence_never_shows_them():
    home = {"ssid": "home", "password": "secret-word"}
    settings, complaints = config.checked({"wifi": home})
    assert not complaints and settings["wifi"] == {"ssid": "home", "password": "secret-word", "port": 5792}
    assert config.checked({})[0]["wifi"] is None
    for wrong in ("home", {}, {"ssid": "home"}, {"ssid": "", "password": "secret-word"}, {"ssid": "home", "password": "short"}):
        settings, complaints = config.checked({"wifi": wrong})
        assert settings["wifi"] is None and len(complaints) == 1 and "frames stay on USB" in complaints[0], wrong
        assert "secret" not in complaints[0] and "short" not in complaints[0]
    settings, complaints = config.checked({"wifi": {"ssid": "home", "password": "secret-word", "port": 0}})
    assert settings["wifi"]["port"] == 5792 and "wifi: port is 0 and has to be" in complaints[0]
