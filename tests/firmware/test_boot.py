"""The board's own main.py under a real MicroPython with 190 KB: from boot to the prompt, over real stdin and stdout."""

import json

import pytest
from booted import of_kind

from epi_protocol import messages as m
from epi_protocol.frame import encode_command


def test_hello_first_then_samples_pongs_and_the_prompt(boot):
    board = boot()
    payloads = board.until(lambda seen: len(of_kind(seen, m.SAMPLE)) >= 5)
    boot_id, description = m.parse_hello(payloads[0])
    assert description["board_id"] == "e6610003" and description["simulated"] is True
    head, channels = m.parse_sample(of_kind(payloads, m.SAMPLE)[-1])
    assert head["boot_id"] == boot_id and len(channels) == 4
    assert all(channel["flags"] & m.flag("ABSENT") for channel in channels)
    board.send(b"\x03garbage\r\n" + encode_command(m.pack_ping(b"\x03\x04\x00\x0a")))
    pong = m.parse_pong(of_kind(board.until(lambda seen: of_kind(seen, m.PONG)), m.PONG)[0])
    assert pong["nonce"] == b"\x03\x04\x00\x0a" and pong["recv_us"] <= pong["send_us"]
    board.send(encode_command(m.pack_repl()))
    assert board.process.wait(10) == 0
    assert board.decoder.damaged == 0


def test_every_boot_has_its_own_id(boot):
    first, second = (m.parse_hello(boot().until(bool)[0])[0] for _ in range(2))
    assert first != second


def test_config_on_the_board_is_obeyed_and_what_is_wrong_in_it_is_said(boot, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"sample_hz": 40, "settle_ms": -1, "channels": [{"name": "nas"}]}))
    payloads = boot().until(lambda seen: len(of_kind(seen, m.SAMPLE)) >= 10 and of_kind(seen, m.LOG))
    description = m.parse_hello(payloads[0])[1]
    assert description["sample_hz"] == 40 and [channel["name"] for channel in description["channels"]] == ["nas"]
    stamps = [m.parse_sample(payload)[0]["board_us"] for payload in of_kind(payloads, m.SAMPLE)]
    assert stamps[-1] - stamps[0] == pytest.approx(25_000 * (len(stamps) - 1), rel=0.5)
    texts = [m.parse_log(payload)[1] for payload in of_kind(payloads, m.LOG)]
    assert texts[0] == "config.json: settle_ms is -1 and has to be a whole number from 0 to 60000; 2000 is used"


def test_the_end_of_the_line_is_the_end_of_the_program(boot):
    board = boot()
    board.until(bool)
    board.process.stdin.close()
    assert board.process.wait(10) == 1
    said = (board.process.stdout.read() or b"") + board.process.stderr.read()
    assert b"the serial line is closed" in said
