"""The firmware's word on its way from the watcher to the program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hookrun.node.probe import NodeProbe
from hookrun.node.vcgencmd import Vcgencmd
from hookrun.program.relay import STALE_NS, FirmwareAsker, RelayedFirmware

PMIC = " 3V3_A current(1)=0.50000000A\n 3V3_V volt(9)=3.00000000V\n"


def command(folder: Path, *, pmic: str = PMIC, throttled: str = "throttled=0x4") -> Sequence[str]:
    """A vcgencmd of our own, which fails where it has nothing to say."""
    script = folder / "vcgencmd"
    said = {"pmic_read_adc": pmic, "get_throttled": throttled}
    cases = "".join(f'  {name}) printf "{text}" ;;\n' if text else f"  {name}) exit 1 ;;\n" for name, text in said.items())
    script.write_text(f"#!/bin/sh\ncase $1 in\n{cases}esac\n")
    script.chmod(0o755)
    return (str(script),)


def test_rails_and_flags_arrive(tmp_path: Path) -> None:
    asker = FirmwareAsker(tmp_path / "said", Vcgencmd(command(tmp_path)))
    firmware = RelayedFirmware(tmp_path / "said")
    assert (firmware.rails_w(), firmware.throttled()) == ({}, None)
    asker.ask()
    assert not asker.silent
    assert (firmware.rails_w(), firmware.throttled()) == ({"3V3": 1.5}, 4)
    nowhere = tmp_path / "nowhere"
    assert NodeProbe(nowhere, nowhere, firmware).read() == {"throttled": 4.0, "rail_3V3_w": 1.5}


def test_an_old_word_is_none(tmp_path: Path) -> None:
    now_ns = 5
    FirmwareAsker(tmp_path / "said", Vcgencmd(command(tmp_path)), lambda: now_ns).ask()
    firmware = RelayedFirmware(tmp_path / "said", lambda: now_ns)
    now_ns += STALE_NS - 1
    assert firmware.throttled() == 4
    now_ns += 1
    assert (firmware.rails_w(), firmware.throttled()) == ({}, None)


@pytest.mark.parametrize("missing", ["a command", "an answer"])
def test_where_there_is_no_firmware_nothing_is_written_and_nobody_asks_again(tmp_path: Path, missing: str) -> None:
    words = ("/nowhere/vcgencmd",) if missing == "a command" else command(tmp_path, pmic="", throttled="")
    asker = FirmwareAsker(tmp_path / "said", Vcgencmd(words))
    asker.ask()
    assert asker.silent
    assert not (tmp_path / "said").exists()


def test_a_board_without_a_power_chip_tells_its_flags(tmp_path: Path) -> None:
    asker = FirmwareAsker(tmp_path / "said", Vcgencmd(command(tmp_path, pmic="")))
    asker.ask()
    asker.ask()
    assert not asker.silent
    firmware = RelayedFirmware(tmp_path / "said")
    assert (firmware.rails_w(), firmware.throttled()) == ({}, 4)


def test_a_file_that_is_no_answer_is_none(tmp_path: Path) -> None:
    (tmp_path / "said").write_text("{")
    assert RelayedFirmware(tmp_path / "said").rails_w() == {}
