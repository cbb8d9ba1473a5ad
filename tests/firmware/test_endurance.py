"""Minutes of the ordeal that tests/bench/endurance.py goes through for days; and that its auditors would notice."""

import pytest
from ordeal import KINDS, Ordeal

from epi_firmware.energy import EnergyBooks


@pytest.fixture(scope="module")
def four_minutes():
    ordeal = Ordeal(seed=20, every_s=12.0)
    ordeal.run(240)
    return ordeal.figures()


def test_every_kind_of_fault_has_happened(four_minutes):
    seldom = {"deaf_beyond_a_wrap"}
    assert all(count > 3 for kind, count in four_minutes["faults"].items() if kind not in seldom), four_minutes["faults"]


def test_no_tick_is_lost_or_made_without_a_mark(four_minutes):
    for ledger in four_minutes["channels"]:
        assert ledger["unmarked"] == 0
        assert ledger["gaps"] == ledger["gaps_marked"] > 3
        assert ledger["booked"] > 500


def test_no_frame_is_missing_that_the_board_has_not_counted(four_minutes):
    host = four_minutes["host"]
    assert host["unexplained"] == 0 and host["frames"] > 2000 and host["boots"] > 10


def test_a_wrap_that_nobody_could_see_is_marked():
    ordeal = Ordeal(seed=1, every_s=1e9, sample_hz=4)
    ordeal.run(5)
    ordeal.deaf_beyond_a_wrap(0)
    ordeal.run(420)
    ledger = ordeal.figures()["channels"][3]
    assert (ledger["lost_in_resets"], ledger["gaps_marked"], ledger["unmarked"]) == (65536, 1, 0)


@pytest.mark.parametrize(("kind", "seconds"), [("chip_reset", 45), ("noisy_line", 15)])
def test_the_auditors_notice_a_firmware_that_keeps_silent(kind, seconds, monkeypatch):
    monkeypatch.setattr(EnergyBooks, "doubt", lambda books: None)
    ordeal = Ordeal(seed=7, every_s=1.0, kinds=[kind])
    ordeal.run(seconds)
    assert sum(ledger["unmarked"] for ledger in ordeal.figures()["channels"]) > 0


def test_kinds_are_what_the_readme_lists(request):
    text = (request.config.rootpath / "firmware" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{kind}`" in text for kind in KINDS)
