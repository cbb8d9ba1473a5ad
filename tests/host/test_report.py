"""The report: every figure in every form, and "simulated" wherever the meter was."""

import csv
import json
import re

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from epi_protocol import events
from epid.analysis.interval import Interval
from epid.analysis.study.study import load_study
from epid.analysis.summary import summarise
from epid.cli import main
from epid.errors import RunFileError
from epid.record.topics import board_topic, node_topic
from epid.record.writer import RunWriter
from epid.report.document import document
from epid.report.figures import figures_of
from epid.report.page import page
from epid.report.table import Column, Table, as_text, rows_of, shown
from epid.report.tables import tables_of
from epid.report.verdict_text import verdict
from fakes import board, experiment, node

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


@pytest.fixture(scope="module")
def study():
    """Two arms with a plan, an accuracy and repeated layers: everything that a report can show."""
    return load_study(experiment.paths())


def whole_page(study):
    return page(study, tables_of(study), figures_of(study))


def test_the_figures_are_the_closed_form(two_runs):
    runs = document(load_study(two_runs))["runs"]
    for run, watts, seconds in zip(runs, (10.0, 9.0), (8, 6), strict=True):
        found = run["decode"]["per_token_j"]
        assert found["low"] <= watts * seconds / 100 <= found["high"]
        assert run["decode"]["per_token_net_j"]["value"] == pytest.approx((watts - 3.5) * seconds / 100, abs=0.01)
        assert run["decode"]["tokens_per_s"] == pytest.approx(100 / seconds, rel=1e-3)
        assert run["idle"]["watts"] == pytest.approx(3.5, abs=0.02)
        assert [round(layer["ffn_us"] / layer["attention_us"], 3) for layer in run["layers"]] == [2.0, 1.333]


def test_the_document_finds_the_hidden_truth(study):
    found = document(study)
    for run, written in zip(found["runs"], experiment.experiment(), strict=True):
        true = written.truth
        assert run["simulated"] and run["run"] == true["run"]
        assert run["decode"]["per_token_j"]["value"] == pytest.approx(true["decode"]["j_per_token"], rel=0.02)
        assert run["prefill"]["per_token_j"]["value"] == pytest.approx(true["prefill"]["j_per_token"], rel=0.25)
        assert run["epi"]["value"] == pytest.approx(true["epi"], rel=0.1)
        assert abs(run["conservation"]["mismatch"]) < 0.005
    (compared,) = found["comparisons"]
    truths = [written.truth["decode"]["j_per_token"] for written in experiment.experiment()]
    saving = 1 - (truths[1] + truths[2]) / (truths[0] + truths[3])
    assert compared["saving"]["value"] == pytest.approx(saving, abs=0.015)
    json.dumps(found, allow_nan=False)


def test_simulated_stands_in_every_table_every_figure_every_run_and_every_file(study, tmp_path):
    assert all("simulated" in table.heading and "simulated" in as_text(table) for table in tables_of(study))
    assert all("simulated" in figure.heading for figure in figures_of(study))
    assert all(row["simulated"] == 1 for table in tables_of(study) for row in rows_of(table))
    assert "simulated" in verdict(study)[0]
    seen = document(study)
    assert seen["simulated"] and all(run["simulated"] for run in seen["runs"]) and seen["comparisons"][0]["simulated"]
    assert all(channel["simulated"] for run in seen["runs"] for channel in run["channels"])


def test_a_real_meter_is_not_called_simulated(tmp_path):
    study = load_study([write_run(tmp_path / "r.mcap", label="real", simulated=False)])
    assert "simulated" not in whole_page(study).split("</script>", 1)[1].lower()
    assert document(study)["simulated"] is False


def test_the_page_says_the_verdict_before_any_table_and_needs_nothing_else(study):
    html = whole_page(study).split("</script>", 1)[1]
    assert html.index("class=verdict") < html.index("<table>") < html.index("plotly-graph-div")
    assert not re.search(r"(src|href)\s*=\s*['\"]?https?:", html)
    assert html.count('class="plotly-graph-div"') == len(figures_of(study)) >= 8
    for name in ("results", "savings", "layers", "redistribution", "conservation", "trust"):
        assert f"id=table-{name}" in html


def test_every_table_of_the_paper_is_there_with_its_columns(study):
    found = {table.name: table for table in tables_of(study)}
    titles = [column.name for column in found["results"].columns]
    assert titles[1] == "pruned" and {"j_per_token", "accuracy", "epi", "epi_change", "outcome"} <= set(titles)
    assert {"heads_removed", "expected_heads", "measured", "gap", "kappa"} <= {c.name for c in found["savings"].columns}
    pruned = dict(zip(titles, found["results"].rows[1], strict=True))
    assert pruned["pruned"] == 0.5 and pruned["runs"] == 2 and pruned["accuracy"].holds(pruned["accuracy"].value)


def test_what_was_not_measured_is_a_dash_null_and_an_empty_cell_with_its_reason(tmp_path):
    study = load_study([write_run(tmp_path / "n.mcap", label="no idle", idle=False)])
    phases = next(table for table in tables_of(study) if table.name == "phases")
    cells = {column.name: shown(column, cell) for column, cell in zip(phases.columns, phases.rows[0], strict=True)}
    assert cells["j_per_token_net"] == "–" and cells["idle_w"] == "–" and cells["j_per_token"] != "–"
    run = document(study)["runs"][0]
    assert run["decode"]["per_token_net_j"]["value"] is None and "idle" in run["decode"]["per_token_net_j"]["reason"]
    assert rows_of(phases)[0]["j_per_token_net"] is None
    assert "no idle was measured" in whole_page(study).split("</script>", 1)[1]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Interval(0.5321, 0.5301, 0.5341), "0.532 ± 0.002"),
        (Interval(0.5321, 0.5201, 0.5331), "0.532 (0.520 … 0.533)"),
        (Interval(1.0, 0.5, float("inf")), "1.000 (0.500 … ∞)"),
        (Interval.exact(2.0), "2.000"),
        (Interval.missing("why"), "–"),
        (float("nan"), "–"),
        (None, "–"),
        (3, "3"),
        ("word", "word"),
    ],
)
def test_cells_as_text(cell, text):
    assert shown(Column("x", "x"), cell) == text


def test_an_interval_becomes_three_columns_of_a_file_in_its_own_unit():
    table = Table("t", "T", (Column("a", "a %", 1, scale=100),), ((Interval(0.5, 0.4, float("inf")),),), simulated=False)
    assert rows_of(table) == [{"a": 0.5, "a_low": 0.4, "a_high": None, "simulated": 0}]


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


def test_the_command_prints_verdict_and_tables_and_writes_page_figures_and_tables(tmp_path):
    page_file, figures, tables = tmp_path / "sub" / "report.html", tmp_path / "figures", tmp_path / "tables"
    arguments = ["--html", page_file, "--figures", figures, "--tables", tables, "--layers"]
    done = CliRunner().invoke(main, ["report", *map(str, experiment.paths()), *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("baseline takes") and "Energy per intelligence · simulated meter" in done.output
    assert "Time and joules per layer" in done.output and not list(tmp_path.rglob("*.part"))
    names = {path.name for path in figures.iterdir()}
    assert {"power.png", "power.svg", "layer-time.png", "kappa.svg", "epi.png", "pareto.svg", "kv-groups.png"} <= names
    assert all(path.stat().st_size > 2000 for path in figures.iterdir())
    rows = list(csv.DictReader((tables / "results.csv").open()))
    assert [row["arm"] for row in rows] == ["baseline", "pruned"] and float(rows[1]["pruned"]) == 0.5
    assert float(rows[0]["j_per_token_low"]) < float(rows[0]["j_per_token"]) < float(rows[0]["j_per_token_high"])
    assert pq.read_table(tables / "layers.parquet").num_rows == 16
    assert page_file.stat().st_size > 1_000_000


def test_json_is_one_object_on_standard_output(two_runs):
    done = CliRunner().invoke(main, ["report", *map(str, two_runs), "--json"])
    assert json.loads(done.stdout)["runs"][1]["label"] == "pruned"


def test_accuracy_from_elsewhere_makes_an_epi(two_runs):
    done = CliRunner().invoke(main, ["report", str(two_runs[0]), "--json", "--accuracy", "0.5:1000"])
    epi = json.loads(done.stdout)["arms"][0]["epi"]
    assert epi["value"] == pytest.approx(1.6, rel=0.03) and epi["low"] < 1.6 < epi["high"]
    done = CliRunner().invoke(main, ["report", str(two_runs[0]), "--accuracy", "much"])
    assert done.exit_code == 2 and "--accuracy much is not VALUE:N" in done.output


@pytest.mark.parametrize("option", ["--html", "--figures", "--tables"])
def test_what_cannot_be_written_is_one_sentence(two_runs, tmp_path, option):
    (tmp_path / "file").write_text("in the way")
    done = CliRunner().invoke(main, ["report", str(two_runs[0]), option, str(tmp_path / "file" / "r")])
    assert done.exit_code == 1 and "epid: cannot write the" in done.output and "Traceback" not in done.output
