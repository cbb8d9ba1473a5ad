"""/metrics: counters that only rise, lines only for what was measured, and a token off loopback."""

import asyncio
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from epid.daemon.metrics import MetricsServer, Totals, page
from epid.errors import EpidError


def status(energy_j=10.0, boot="aa", p_w=5.0, bound_us=100.0):
    channel = {"channel": 0, "name": 'pi "0"', "p_w": p_w, "energy_j": energy_j}
    seen = {"board_id": "e66", "boot_id": boot, "simulated": True, "link": "up", "lost_frames": 2, "clock_bound_us": bound_us}
    runs = [{"run": "ab", "node": "pi0", "spans": 7, "dropped": 1, "unwritten_batches": 4}]
    daemon = {"refused_messages": 3, "disk_free_bytes": 5 << 30, "windows": 2}
    return {"boards": [seen | {"channels": [channel]}], "nodes": [], "runs": runs, **daemon}


def values(text):
    return {sample.name: sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples}


def test_what_is_measured_is_there_with_units_and_says_simulated(tmp_path):
    seen = values(page(status(), Totals(tmp_path / "t")))
    assert seen["epid_power_watts"].value == 5.0
    assert seen["epid_power_watts"].labels == {"board": "e66", "simulated": "true", "channel": "0", "name": 'pi "0"'}
    assert seen["epid_clock_bound_seconds"].value == pytest.approx(1e-4)
    assert seen["epid_lost_frames_total"].value == 2 and seen["epid_refused_messages_total"].value == 3
    assert seen["epid_disk_free_bytes"].value == 5 << 30 and seen["epid_open_windows"].value == 2
    assert seen["epid_run_unwritten_batches"].value == 4


def test_what_is_missing_has_no_line(tmp_path):
    seen = values(page(status(p_w=None, bound_us=None), Totals(tmp_path / "t")))
    assert "epid_power_watts" not in seen and "epid_clock_bound_seconds" not in seen


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e6)), max_size=30))
def test_joules_only_rise_whatever_the_board_does(readings):
    totals = Totals(Path("never-written"))
    seen = [totals.update("e66", boot, 0, energy_j) for boot, energy_j in readings]
    assert seen == sorted(seen)


def test_joules_go_on_across_boots_and_restarts_of_the_daemon(tmp_path):
    path = tmp_path / "sub" / "totals.json"
    first = Totals(path)
    readings = [("aa", 100.0), ("aa", 130.0), ("bb", 5.0), ("bb", 6.0)]
    assert [first.update("e66", boot, 0, j) for boot, j in readings] == [0.0, 30.0, 35.0, 36.0]
    first.save()
    second = Totals(path)
    assert [second.update("e66", "bb", 0, j) for j in (50.0, 51.0)] == [80.0, 81.0], "the board counted on meanwhile"


def test_damaged_totals_are_named_and_not_overwritten(tmp_path):
    path = tmp_path / "totals.json"
    path.write_text("{oops")
    with pytest.raises(EpidError, match=r"cannot be read .*; move the file away to start from zero"):
        Totals(path)
    assert path.read_text() == "{oops"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("9790", "write host:port"), ("0.0.0.0:9790", "could be read by anyone; give a --metrics-token")],
)
def test_a_wrong_or_open_address_is_refused(tmp_path, address, sentence):
    with pytest.raises(EpidError, match=sentence):
        MetricsServer(address, "", tmp_path, status)


def fetch(url, token=None):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_it_answers_http_and_asks_for_its_token(tmp_path):
    async def ask():
        said = []
        task = asyncio.create_task(MetricsServer("127.0.0.1:0", "s3cret", tmp_path, status).run(said.append))
        while not said:
            await asyncio.sleep(0.01)
        url = said[0].removeprefix("metrics on ")
        questions = ((url,), (url, "wrong"), (url, "s3cret"), (url + "x", "s3cret"))
        answers = [await asyncio.to_thread(fetch, *asked) for asked in questions]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return answers

    codes = asyncio.run(ask())
    assert [code for code, _body in codes] == [401, 401, 200, 404]
    assert b"epid_energy_joules_total" in codes[2][1]
    assert Totals(tmp_path / ".epid-totals.json").update("e66", "aa", 0, 1.0) == 0.0
