"""/metrics: counters that only rise, lines only for what was measured, and a token off loopback."""

import asyncio
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from epid.analysis.lag.lag_file import store_lag
from epid.daemon.lag_watch import LagWatch
from epid.daemon.metrics import METRICS, page
from epid.daemon.metrics_server import MetricsServer
from epid.daemon.totals import STATE_FILE, Totals
from epid.errors import EpidError
from fakes.epid_serve import Daemon
from fakes.node import RUN, Node


def status(energy_j=10.0, boot="aa", p_w=5.0, bound_us=100.0):
    channel = {"channel": 0, "name": 'pi "0"', "p_w": p_w, "energy_j": energy_j}
    seen = {"board_id": "e66", "boot_id": boot, "simulated": True, "link": "up", "lost_frames": 2, "clock_bound_us": bound_us}
    seen |= {"damaged_segments": 8, "refused_frames": 9, "boots": 2, "channels": [channel]}
    nodes = [{"node": "pi0", "clock_bound_us": None}]
    runs = [{"run": "ab", "node": "pi0", "spans": 7, "dropped": 1, "unwritten_batches": 4, "unwritten_bytes": 512}]
    lags = [{"board_id": "e66", "channel": 0, "run": "ab", "centre_s": 0.178, "within_s": 0.001, "simulated": True}]
    daemon = {"refused_messages": 3, "disk_free_bytes": 5 << 30, "windows": 2, "lags": lags, "unreadable_lag_files": 1}
    return {"boards": [seen], "nodes": nodes, "runs": runs, **daemon}


def values(text):
    return {sample.name: sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples}


def test_what_is_measured_is_there_with_units_and_says_simulated(tmp_path):
    seen = values(page(status(), Totals(tmp_path / "t")))
    assert seen["epid_power_watts"].value == 5.0
    assert seen["epid_power_watts"].labels == {"board": "e66", "simulated": "true", "channel": "0", "name": 'pi "0"'}
    assert seen["epid_clock_bound_seconds"].value == pytest.approx(1e-4)
    assert seen["epid_lost_frames_total"].value == 2 and seen["epid_refused_messages_total"].value == 3
    assert seen["epid_disk_free_bytes"].value == 5 << 30 and seen["epid_open_windows"].value == 2
    assert seen["epid_run_unwritten_batches"].value == 4 and seen["epid_run_unwritten_bytes"].value == 512
    assert seen["epid_board_up"].value == 1 and seen["epid_node_up"].labels == {"node": "pi0"}
    assert seen["epid_damaged_frames_total"].value == 8 and seen["epid_refused_frames_total"].value == 9
    assert seen["epid_power_lag_seconds"].value == 0.178 and seen["epid_power_lag_within_seconds"].value == 0.001
    assert seen["epid_power_lag_seconds"].labels == {"board": "e66", "simulated": "true", "channel": "0", "run": "ab"}
    assert seen["epid_unreadable_lag_files"].value == 1


def test_what_is_missing_has_no_line(tmp_path):
    seen = values(page(status(p_w=None, bound_us=None), Totals(tmp_path / "t")))
    assert "epid_power_watts" not in seen and "epid_clock_bound_seconds" not in seen


def lag_file(folder, name, centre_s, changed_s, **other):
    fit = {"centre_s": centre_s, "within_s": 0.001, "window_s": 0.32, "delay_s": 0.018}
    content = {"format": "epid-lag", "version": 1, "run": name, "board_id": "e66", "simulated": True, "channels": {"0": fit}}
    path = folder / f"{name}.lag.json"
    path.write_text(json.dumps(content | other))
    os.utime(path, (changed_s, changed_s))
    return path


def test_the_lag_in_force_is_the_newest_that_was_saved_for_each_channel(tmp_path):
    watch = LagWatch(tmp_path)
    assert watch.in_force() == []
    lag_file(tmp_path, "old", 0.170, 1000)
    newer = lag_file(tmp_path, "new", 0.180, 2000)
    lag_file(tmp_path, "other", 0.100, 1500, board_id="e67")
    lag_file(tmp_path, "future", 9.0, 3000, version=2)
    (tmp_path / "torn.lag.json").write_text("{")
    seen = [(lag["board_id"], lag["channel"], lag["run"], lag["centre_s"]) for lag in watch.in_force()]
    assert seen == [("e66", 0, "new", 0.180), ("e67", 0, "other", 0.100)]
    assert watch.unreadable == 2
    newer.unlink()
    assert watch.in_force()[0]["run"] == "old"


def test_a_lag_that_epid_lag_saved_is_the_one_that_is_shown(tmp_path):
    run = SimpleNamespace(path=tmp_path / "base.mcap", metadata={"run": "ab12"})
    track = SimpleNamespace(board_id="e66", channel=2, simulated=True)
    store_lag(run, track, {"delay_s": 0.018, "window_s": 0.32, "centre_s": 0.178, "within_s": 0.001, "load_s": None})
    (lag,) = LagWatch(tmp_path).in_force()
    assert (lag["run"], lag["channel"], lag["centre_s"], lag["simulated"]) == ("ab12", 2, 0.178, True)


def test_a_real_daemon_serves_every_figure_and_its_joules_survive_its_death(tmp_path, meter):
    arguments = (tmp_path, "--tcp", f"127.0.0.1:{meter.port}", "--channel", "pi0=0", "--metrics", "127.0.0.1:0")
    lag_file(tmp_path, "x", 0.178, 1000)
    joules = []
    for _ in range(2):
        daemon = Daemon(*arguments)
        try:
            url = daemon.wait_line("metrics on ").rpartition(" ")[2].strip()
            daemon.wait_line("(simulated)")
            peer = Node(daemon.endpoint)
            peer.wait_for("welcome")
            peer.send("run_begin", run=RUN, label="", node_ns=0, resume=bool(joules))
            peer.wait_for("run_open")
            joules.append(joules_once_all_is_there(peer, url))
            peer.close()
        finally:
            daemon.stop()
    assert 0 < joules[0] < joules[1]


def joules_once_all_is_there(peer, url):
    """Stay on the line until every figure has a value and energy has been counted; return the joules of all channels."""
    for _ in range(200):
        peer.answer_pings(0.1)
        samples = [each for family in text_string_to_metric_families(fetch(url)[1].decode()) for each in family.samples]
        joules = sum(each.value for each in samples if each.name == "epid_energy_joules_total")
        missing = set(METRICS) - {each.name for each in samples}
        if not missing and joules > 0:
            return joules
    raise AssertionError(f"missing after 20 s: {missing or 'joules'}")


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


def test_totals_that_cannot_be_kept_are_said_once_and_the_old_ones_stay(tmp_path, monkeypatch):
    server, said = MetricsServer("127.0.0.1:0", "", tmp_path, status), []
    server._save('{"joules": {}, "last": {}}', said.append)
    before = (tmp_path / STATE_FILE).read_text()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for _ in range(3):
        server._save("half written", said.append)
    assert len(said) == 1 and "No space left on device" in said[0]
    assert (tmp_path / STATE_FILE).read_text() == before and len(list(tmp_path.iterdir())) == 1


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
