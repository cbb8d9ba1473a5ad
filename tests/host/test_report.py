"""The report: every figure in every form, and "simulated" wherever the meter was."""

import json
import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from epi_protocol import events
from epid.analysis.summary import summarise
from epid.cli import main
from epid.errors import RunFileError
from epid.record.topics import board_topic, node_topic
from epid.record.writer import RunWriter
from epid.report.document import document
from epid.report.page import page
from epid.report.pictures import layer_picture, power_picture, token_picture
from epid.report.tables import as_text, tables
from fakes import board, node

S = 1_000_000_000
IDLE_W, BUSY_W = 3.5, 10.0


def write_run(path, *, label, simulated=True, busy_w=BUSY_W, decode_s=8, idle=True, with_node=True, with_power=True, channel="0"):
    """Six seconds idle, `decode_s` of decoding 100 tokens in two layers, six seconds idle, on clocks that agree."""
    writer = RunWriter(
        path, {"run": "ab12cd34", "label": label, "node": "pi0", "channel": channel, "utc": "2026-01-02T03:04"}, "t"
    )
    if with_power:
        write_power(writer, simulated, busy_w, decode_s)
    if with_node:
        write_node(writer, decode_s, idle)
    writer.close({"status": "complete"})
    return path


def write_power(writer, simulated, busy_w, decode_s):
    def power(t):
        return busy_w if 6 <= t < 6 + decode_s else IDLE_W

    def joules(t):
        return IDLE_W * t + (busy_w - IDLE_W) * min(max(t - 6, 0), decode_s)

    writer.write(board_topic("b", "hello"), 0, {"host_ns": 0, "payload": board.hello(simulated=simulated)})
    for k in range(int(decode_s) + 14):
        stamps = {"t1_ns": k * S, "t2_us": k * 1_000_000 + 10, "t3_us": k * 1_000_000 + 20, "t4_ns": k * S + 30_000}
        writer.write(board_topic("b", "clock"), k * S, {"boot_id": board.BOOT, "nonce": b"", **stamps})
    for board_us, payload in board.stream(decode_s + 13, power, joules_at=joules):
        writer.write(board_topic("b", "sample"), board_us * 1000, {"host_ns": board_us * 1000, "payload": payload})


def write_node(writer, decode_s, idle):
    begin_ns, decode_ns, end_ns = S // 2, 6 * S, (6 + decode_s) * S
    body = {"run": "ab12cd34", "model": {"name": "m.gguf"}, "settings": {"tokens": 100}}
    writer.write(node_topic("pi0", "hello"), 1, {"host_ns": 1, "body": {"session": "s", "engine": "fake"}})
    writer.write(node_topic("pi0", "run"), 1, {"host_ns": 1, "kind": "run_begin", "body": body})
    for k in range(5):
        stamps = {"t1_ns": k * 3 * S, "t2_ns": k * 3 * S + 40_000, "t3_ns": k * 3 * S + 50_000, "t4_ns": k * 3 * S + 90_000}
        writer.write(node_topic("pi0", "clock"), k, {"session": "s", "nonce": b"", **stamps})
    decode, rows = events.KIND["decode"], []
    if idle:
        rows += [{"begin_ns": begin_ns, "end_ns": decode_ns, "kind": events.KIND["idle"]}]
        rows += [{"begin_ns": end_ns, "end_ns": end_ns + 6 * S, "kind": events.KIND["idle"]}]
    rows += [{"begin_ns": decode_ns, "end_ns": end_ns, "kind": decode, "phase": decode, "request": 0, "count": 100}]
    token_ns = decode_s * S // 100
    for token in range(100):
        at = decode_ns + token * token_ns
        shared = {"phase": decode, "request": 0, "token": token, "count": 1}
        rows.append(shared | {"begin_ns": at, "end_ns": at + token_ns, "kind": events.KIND["token"]})
        for layer, kind, share in ((0, "attention", 0.1), (0, "ffn", 0.2), (1, "attention", 0.3), (1, "ffn", 0.4)):
            rows.append(
                shared | {"begin_ns": at, "end_ns": at + int(share * token_ns), "kind": events.KIND[kind], "layer": layer}
            )
    writer.write(node_topic("pi0", "spans"), 2, {"host_ns": 2, "body": node.spans(rows, run="ab12cd34")})


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / "a.mcap", label="baseline"), write_run(folder / "b.mcap", label="pruned", busy_w=9.0, decode_s=6)]


def test_the_figures_are_the_closed_form(two_runs):
    runs = document([summarise(path) for path in two_runs])["runs"]
    for run, watts, seconds in zip(runs, (10.0, 9.0), (8, 6), strict=True):
        assert run["decode"]["j_per_token"] == pytest.approx(watts * seconds / 100, abs=run["decode"]["j_per_token_within"])
        assert run["decode"]["j_per_token_net"] == pytest.approx((watts - 3.5) * seconds / 100, abs=0.01)
        assert run["decode"]["tokens_per_s"] == pytest.approx(100 / seconds, rel=1e-3)
        assert run["idle"]["watts"] == pytest.approx(3.5, abs=0.02)
        assert [round(layer["ffn_us"] / layer["attention_us"], 3) for layer in run["layers"]] == [2.0, 1.333]
        assert sum(layer["j_per_token"] for layer in run["layers"]) == pytest.approx(run["decode"]["j_per_token"], rel=1e-3)


def test_the_comparison_is_the_ratio(two_runs):
    (compared,) = document([summarise(path) for path in two_runs])["comparisons"]
    assert compared["decode_j_per_token"] == pytest.approx(0.675, abs=0.01)
    assert compared["decode_tokens_per_s"] == pytest.approx(8 / 6, rel=1e-3)
    assert [layer["attention"] for layer in compared["layer_us"]] == [pytest.approx(0.75, rel=1e-3)] * 2


def test_simulated_stands_in_every_table_every_picture_and_every_run(two_runs):
    summaries = [summarise(path) for path in two_runs]
    assert all("simulated" in as_text(table).splitlines()[0] for table in tables(summaries))
    for picture in (power_picture, layer_picture, token_picture):
        assert "simulated" in picture(summaries).layout.title.text
    seen = document(summaries)
    assert seen["simulated"] and all(run["simulated"] for run in seen["runs"]) and seen["comparisons"][0]["simulated"]
    assert all(channel["simulated"] for channel in seen["runs"][0]["channels"])


def test_a_real_meter_is_not_called_simulated(tmp_path):
    summaries = [summarise(write_run(tmp_path / "r.mcap", label="real", simulated=False))]
    assert "simulated" not in page(summaries).replace("simulated</span>", "").split("</script>", 1)[1].lower()
    assert document(summaries)["simulated"] is False


def test_the_page_needs_nothing_else(two_runs):
    html = page([summarise(path) for path in two_runs])
    own = html.split("</script>", 1)[1]
    assert not re.search(r"(src|href)\s*=\s*['\"]?https?:", own)
    assert html.count('class="plotly-graph-div"') == 3


def test_lost_frames_are_a_hole_in_the_line(tmp_path, two_runs):
    summary = summarise(two_runs[0])
    assert power_picture([summary]).data[0].y.size == len(summary.track)


def test_what_was_not_measured_is_a_dash_and_null(tmp_path):
    summary = summarise(write_run(tmp_path / "n.mcap", label="no idle", idle=False))
    energy, *_others = tables([summary])
    decode = dict(zip(energy.columns, energy.rows[1], strict=True))
    assert decode["J/token net of idle"] == "–" and decode["idle W"] == "–" and decode["J/token gross"] != "–"
    run = document([summary])["runs"][0]
    assert run["decode"]["j_per_token_net"] is None and run["idle"]["watts"] is None
    assert "no idle was measured in this run: joules net of idle cannot be told" in run["warnings"]
    json.dumps(run, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"with_power": False}, "holds no power: no meter was connected to epid during the run"),
        ({"with_node": False}, "holds no spans of a node; was inference run under hookrun"),
        ({"channel": ""}, "does not say which channel feeds 'pi0'; name it with --channel"),
        ({"channel": "7"}, "has channels 0 to 3, not 7"),
    ],
)
def test_what_a_run_lacks_is_one_sentence(tmp_path, changes, sentence):
    path = write_run(tmp_path / "r.mcap", label="x", **changes)
    with pytest.raises(RunFileError, match=re.escape(sentence)):
        summarise(path)
    done = CliRunner().invoke(main, ["report", str(path)])
    assert done.exit_code == 4 and "epid: " in done.output and "Traceback" not in done.output


def test_the_command_prints_tables_writes_the_page_and_speaks_json(two_runs, tmp_path):
    target = tmp_path / "sub" / "report.html"
    shown = CliRunner().invoke(main, ["report", *map(str, two_runs), "--html", str(target), "--layers"])
    assert shown.exit_code == 0 and target.exists() and not target.with_name("report.html.part").exists()
    assert "Joules per token · simulated meter" in shown.output and "Time per layer" in shown.output
    machine = CliRunner().invoke(main, ["report", *map(str, two_runs), "--json"])
    assert json.loads(machine.output)["runs"][1]["label"] == "pruned"


def test_a_page_that_cannot_be_written_is_one_sentence(two_runs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = CliRunner().invoke(main, ["report", str(two_runs[0]), "--html", str(tmp_path / "file" / "r.html")])
    assert done.exit_code == 1 and "epid: cannot write the report" in done.output


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here to open the page with")
def test_a_browser_draws_the_page(two_runs, tmp_path):
    target = tmp_path / "report.html"
    assert CliRunner().invoke(main, ["report", *map(str, two_runs), "--html", str(target)]).exit_code == 0
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
    dump = [
        "chromium",
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=8000",
        "--dump-dom",
        target.as_uri(),
    ]
    drawn = subprocess.run(dump, capture_output=True, text=True, timeout=120).stdout
    assert drawn.count("main-svg") >= 3, "plotly drew nothing"
