"""Settings of the meter: defaults that need no file, and `config.json` on the board that changes some of them.

A bad value never stops the meter: it is named in one sentence, and the default is used.
"""

import json

from . import registers as reg
from .blocks import i_gain, pl_constant, threshold, u_gain

CONFIG_FILE = "config.json"
MAX_CHANNELS = 4

_BOARD = {
    "sample_hz": (20, 1, 40),
    "settle_ms": (2000, 0, 60_000),
    "stale_ms": (2000, 100, 60_000),
    "ring_frames": (200, 3, 1000),
}
_CHANNEL = {
    "mc_imp_per_kwh": (1_000_000, 1000, 10_000_000),
    "current_uv_per_a": (24_000, 1, 1_000_000),
    "voltage_uv_per_v": (1000, 1, 100_000),
    "current_gain": (24, 1, 24),
    "power_scale": (16, 1, 64),
    "start_mw": (200, 1, 100_000),
    "load_max_w": (30, 1, 100_000),
    "l_gain": (0, 0, 0xFFFF),
    "l_phi": (0, 0, 0xFFFF),
    "u_gain": (0, 0, 0x7FFF),
    "i_gain": (0, 0, 0x7FFF),
    "u_offset": (0, 0, 0xFFFF),
    "i_offset": (0, 0, 0xFFFF),
    "p_offset": (0, 0, 0xFFFF),
    "q_offset": (0, 0, 0xFFFF),
}
"""(default, least, most) of every setting; see firmware/README.md for what they mean."""

_MAX_CALIBRATION = 120  # bytes: four of them, and HELLO still fits in a frame
_WIFI_PORT = (5792, 1, 65535)


def defaults():
    """Return the settings of a board without a file: four channels, pi1 to pi4."""
    settings = {name: limits[0] for name, limits in _BOARD.items()}
    settings["channels"] = [_channel_defaults(index) for index in range(MAX_CHANNELS)]
    settings["wifi"] = None
    return settings


def load(path=CONFIG_FILE):
    """Return (settings, complaints): what the file at `path` says, and one sentence for everything in it that is wrong."""
    try:
        with open(path) as file:
            text = file.read()
    except OSError:
        return defaults(), []
    try:
        given = json.loads(text)
    except ValueError:
        return defaults(), ["%s is not JSON; the defaults are used" % path]
    return checked(given, path)


def checked(given, path=CONFIG_FILE):
    """Return (settings, complaints) for the object that the file `path` holds."""
    settings, complaints = defaults(), []
    if not isinstance(given, dict):
        return settings, ["%s is no JSON object; the defaults are used" % path]
    channels = given.get("channels", settings["channels"])
    if not isinstance(channels, list) or not 1 <= len(channels) <= MAX_CHANNELS:
        complaints.append("%s: channels has to be a list of 1 to %d objects; the default is used" % (path, MAX_CHANNELS))
        channels = settings["channels"]
    _take(_BOARD, given, settings, ("channels", "wifi"), path, complaints)
    if "wifi" in given:
        settings["wifi"] = _wifi(given["wifi"], path, complaints)
    settings["channels"] = [_channel(index, one, path, complaints) for index, one in enumerate(channels)]
    return settings, complaints


def _wifi(given, path, complaints):
    """Return the network to join, or None. A sentence about it never shows the password."""
    where = "%s: wifi" % path
    if not isinstance(given, dict) or not _is_text(given.get("ssid"), 1, 32) or not _is_text(given.get("password"), 8, 63):
        complaints.append("%s needs ssid (1 to 32 bytes) and password (8 to 63 bytes); frames stay on USB" % where)
        return None
    wifi = {"ssid": given["ssid"], "password": given["password"], "port": _WIFI_PORT[0]}
    _take({"port": _WIFI_PORT}, given, wifi, ("ssid", "password"), where, complaints)
    return wifi


def _is_text(value, least, most):
    return isinstance(value, str) and least <= len(value.encode()) <= most


def _channel_defaults(index):
    channel = {name: limits[0] for name, limits in _CHANNEL.items()}
    channel["name"] = "pi%d" % (index + 1)
    channel["calibration"] = None
    return channel


def _channel(index, given, path, complaints):
    channel = _channel_defaults(index)
    where = "%s: channel %d" % (path, index + 1)
    if not isinstance(given, dict):
        complaints.append("%s is no JSON object; the defaults are used" % where)
        return channel
    name = given.get("name", channel["name"])
    if _is_text(name, 1, 24):
        channel["name"] = name
    else:
        complaints.append("%s: name has to be text of 1 to 24 bytes; %s is used" % (where, channel["name"]))
    _take(_CHANNEL, given, channel, ("name", "calibration"), where, complaints)
    if given.get("calibration") is not None:
        channel["calibration"] = _calibration(given["calibration"], where, complaints)
    trouble = _misfit(channel)
    if trouble:
        complaints.append("%s: %s; the defaults are used for this channel" % (where, trouble))
        name, channel = channel["name"], _channel_defaults(index)
        channel["name"] = name
    return channel


def _calibration(given, where, complaints):
    """Return the record of the last calibration as JSON text for HELLO; what stands in it is the host's business."""
    text = json.dumps(given, separators=(",", ":"))
    if isinstance(given, dict) and len(text) <= _MAX_CALIBRATION:
        return text
    complaints.append("%s: calibration is no record of at most %d bytes; it is left out" % (where, _MAX_CALIBRATION))
    return None


def _take(limits, given, settings, others, where, complaints):
    for name, value in given.items():
        if name in others:
            continue
        if name not in limits:
            complaints.append("%s: %s is not a setting; it is ignored" % (where, name))
            continue
        default, least, most = limits[name]
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            settings[name] = value
        else:
            complaints.append(
                "%s: %s is %s and has to be a whole number from %d to %d; %d is used"
                % (where, name, json.dumps(value)[:40], least, most, default)
            )


def _misfit(channel):
    """Say which register these settings do not fit in, or "" when all fit."""
    if channel["current_gain"] not in reg.L_GAIN_CODES:
        return "current_gain has to be 1, 4, 8, 16 or 24"
    if not 0 < pl_constant(channel) < 1 << 32:
        return "PLconst would be %d and has to fit in 32 bits; change mc_imp_per_kwh" % pl_constant(channel)
    if not 0 < threshold(channel, channel["start_mw"]) <= 0xFFFF:
        return "start_mw makes a threshold of %d and has to fit in 16 bits" % threshold(channel, channel["start_mw"])
    if not 0 < u_gain(channel) <= 0x7FFF:
        return "Ugain would be %d and has to stay below 32768; check voltage_uv_per_v" % u_gain(channel)
    if not 0 < i_gain(channel) <= 0x7FFF:
        return "Igain would be %d and has to stay below 32768; lower power_scale" % i_gain(channel)
    return ""
