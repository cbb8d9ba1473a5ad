"""What HELLO says about the board: a JSON text built once, with every scale as an exact decimal.

Numbers are written from integers, digit by digit: on an RP2040 a float has 24 bits, and a scale should not.
"""

import json
import struct

from epi_protocol import PROTOCOL_VERSION
from epi_protocol.messages import HELLO

from . import VERSION

TICKS_HZ = 1_000_000
TICKS_WRAP = 1 << 30

_QUANTITIES = (
    ("p", "W", "i16+lsb"),
    ("q", "var", "i16+lsb"),
    ("s", "VA", "u16+lsb"),
    ("u", "V", "u16+lsb"),
    ("i", "A", "u16+lsb"),
    ("pf", "1", "sm16*0.001"),
    ("freq", "Hz", "u16*0.01"),
    ("forward", "J", "u64"),
    ("reverse", "J", "u64"),
)


def decimal(numerator, denominator, digits=12):
    """`numerator / denominator` (both positive) as decimal text, cut after `digits` digits behind the point."""
    whole, rest = divmod(numerator, denominator)
    text = ""
    while rest and len(text) < digits:
        digit, rest = divmod(rest * 10, denominator)
        text += str(digit)
    return "%d.%s" % (whole, text) if text else str(whole)


def hello_payload(boot_id, board_id, interpreter, machine, simulated, settings):
    """Return the HELLO payload; strings say who we are, `settings` what the numbers mean."""
    text = '{"board_id":%s,"firmware":%s,"micropython":%s,"machine":%s,"simulated":%s,' % (
        json.dumps(board_id),
        json.dumps(VERSION),
        json.dumps(interpreter),
        json.dumps(machine),
        "true" if simulated else "false",
    )
    text += '"ticks_hz":%d,"ticks_wrap":%d,"sample_hz":%d,' % (TICKS_HZ, TICKS_WRAP, settings["sample_hz"])
    text += '"chip":"ATM90E26","energy_wrap_ticks":65536,'
    text += '"channels":[%s],' % ",".join([_channel(channel) for channel in settings["channels"]])
    text += '"quantities":[%s]}' % ",".join(['{"name":"%s","unit":"%s","format":"%s"}' % one for one in _QUANTITIES])
    return struct.pack("<BB4s", HELLO, PROTOCOL_VERSION, boot_id) + text.encode()


def _channel(channel):
    mc, scale = channel["mc_imp_per_kwh"], channel["power_scale"]
    unit = decimal(1, scale)
    return (
        '{"name":%s,"mc_imp_per_kwh":%d,"energy_j_per_tick":%s,'
        '"energy_wrap_s_at_15w":%s,"p_w":%s,"q_var":%s,"s_va":%s,"u_v":0.01,"i_a":%s,"start_w":%s%s}'
        % (
            json.dumps(channel["name"]),
            mc,
            decimal(360_000, mc),
            decimal(65536 * 360_000, 15 * mc, 1),
            unit,
            unit,
            unit,
            decimal(1, 1000 * scale),
            decimal(channel["start_mw"], 1000),
            ',"calibration":' + channel["calibration"] if channel["calibration"] else "",
        )
    )
