"""Exports: what other tools read back is what the run file holds, and a simulated run says so in each of them."""

import csv
import importlib.util
import itertools
import shutil

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from epi_protocol.events import KIND
from epi_tools.plant.channels import build_source
from epi_tools.simrun.experiment import Order, simulate
from epi_tools.simrun.truth import Truth
from epid.cli import main
from epid.export.recorded import load_recorded

TOKENS, LAYERS = 40, 3
SMALL = Truth().changed(
    model={"n_layer": LAYERS},
    workload={"requests": 1, "tokens": TOKENS, "idle_s": 1.5, "pattern_s": 0.5, "repeats": 1},
    power={"layer_spread": 0.0},
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    pruned = SMALL.changed(model={"pruned": 0.5})
    orders = [Order(SMALL, 0, 0), Order(pruned, 0, 1)]
    return [
        simulate(order, 3, folder / f"{at}.mcap", "2026-01-02T03:04:05+00:00", None, lambda _share: None)
        for at, order in enumerate(orders)
    ]


def export(*arguments):
    done = CliRunner().invoke(main, ["export", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def trace(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("trace") / "t.pftrace"
    export("perfetto", *(one.run for one in runs), "--out", out)
    found = Trace()
    found.ParseFromString(out.read_bytes())
    return found


@pytest.fixture(scope="module")
def tables(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    export("parquet", *(one.run for one in runs), "--out", folder)
    return folder


def tracks_of(trace):
    return {p.track_descriptor.uuid: p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")}


def group_tracks(trace, group):
    """Tracks of the nth run by name."""
    tracks = tracks_of(trace)
    roots = [uuid for uuid, descriptor in tracks.items() if not descriptor.parent_uuid]
    return {d.name: uuid for uuid, d in tracks.items() if d.parent_uuid == roots[group]}


def slices_on(trace, uuid):
    """(begin, end, name) of each slice of a track, matched as a reader matches them."""
    open_slices, found = [], []
    on_track = [p for p in trace.packet if p.HasField("track_event") and p.track_event.track_uuid == uuid]
    for packet in sorted(on_track, key=lambda p: p.timestamp):
        if packet.track_event.type == TrackEvent.TYPE_SLICE_BEGIN:
            open_slices.append((packet.timestamp, packet.track_event.name))
        elif packet.track_event.type == TrackEvent.TYPE_SLICE_END:
            begin, name = open_slices.pop(0)
            found.append((begin, packet.timestamp, name))
    assert not open_slices
    return found


def test_perfetto_has_power_as_a_counter_in_watts_and_every_sample_of_it(trace, runs):
    track = load_recorded(runs[0].run, None, None).track
    power = group_tracks(trace, 0)["power (simulated)"]
    assert tracks_of(trace)[power].counter.unit_name == "W"
    values = [p.track_event.double_counter_value for p in trace.packet if p.track_event.track_uuid == power]
    assert values == pytest.approx(track.p_w[np.isfinite(track.p_w)].tolist())


def test_perfetto_has_every_layer_of_every_token_as_a_slice_inside_its_token(trace):
    names = group_tracks(trace, 0)
    layers, tokens = slices_on(trace, names["layers"]), slices_on(trace, names["tokens"])
    assert len(tokens) == TOKENS and len([s for s in layers if s[2] == "attention 2"]) == TOKENS + 1  # and the prompt
    assert {s[2] for s in layers} >= {"embedding", "head", "repeat 0", "ffn 1"}
    for begin, end, _name in tokens:
        inside = [s for s in layers if begin <= s[0] < end]
        assert inside and max(s[1] for s in inside) <= end
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(inside))


def test_perfetto_puts_power_and_slices_on_one_axis(trace, runs):
    recorded = load_recorded(runs[0].run, None, None)
    decode = recorded.spans.of_kind(KIND["decode"])
    (found,) = [s for s in slices_on(trace, group_tracks(trace, 0)["phases"]) if s[2] == "decode"]
    assert found[:2] == (decode["begin_ns"][0] - recorded.zero_ns, decode["end_ns"][0] - recorded.zero_ns)
    power = group_tracks(trace, 0)["power (simulated)"]
    stamps = [p.timestamp for p in trace.packet if p.track_event.track_uuid == power]
    assert stamps == (recorded.track.host_ns - recorded.zero_ns)[np.isfinite(recorded.track.p_w)].tolist()


def test_perfetto_names_each_run_and_says_simulated(trace):
    roots = [d.name for d in tracks_of(trace).values() if not d.parent_uuid]
    assert roots == ["baseline-1 (simulated)", "baseline-1 (simulated)"]


def test_runs_lie_over_each_other_unless_host_time_is_asked_for(trace, runs, tmp_path):
    assert slices_on(trace, group_tracks(trace, 1)["tokens"])[0][0] < 20e9
    export("perfetto", *(one.run for one in runs), "--host-time", "--out", tmp_path / "h.pftrace")
    apart = Trace()
    apart.ParseFromString((tmp_path / "h.pftrace").read_bytes())
    first, second = (slices_on(apart, group_tracks(apart, group)["tokens"])[0][0] for group in (0, 1))
    assert second - first == pytest.approx(runs[1].truth["begin_host_ns"] - runs[0].truth["begin_host_ns"], abs=2e9)


@pytest.mark.skipif(shutil.which("trace_processor_shell") is None, reason="no trace_processor_shell on PATH to open it with")
def test_trace_processor_opens_it(runs, tmp_path):
    from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig

    export("perfetto", runs[0].run, "--out", tmp_path / "t.pftrace")
    config = TraceProcessorConfig(bin_path=shutil.which("trace_processor_shell"))
    with TraceProcessor(trace=str(tmp_path / "t.pftrace"), config=config) as processor:
        (row,) = processor.query("select count(*) as n from slice where name like 'attention%'")
        assert row.n == (TOKENS + 1) * LAYERS


def test_one_duckdb_query_answers_joules_per_layer(tables, runs):
    query = f"""
        SELECT layer, sum(metered_j) / count(DISTINCT token) AS j_per_token
        FROM '{tables}/spans.parquet' WHERE run = '{runs[0].truth["run"]}' AND phase = 'decode' AND kind IN ('attention', 'ffn')
        GROUP BY layer ORDER BY layer"""
    rows = duckdb.sql(query).fetchall()
    true = [layer["attention_j_per_token"] + layer["ffn_j_per_token"] for layer in runs[0].truth["layers"]]
    assert [layer for layer, _joules in rows] == list(range(LAYERS))
    assert sum(joules for _layer, joules in rows) == pytest.approx(sum(true), rel=0.1)


def test_the_tables_hold_every_row_and_mark_simulated(tables, runs):
    samples, spans, run_rows = (pq.read_table(tables / f"{name}.parquet") for name in ("samples", "spans", "runs"))
    recorded = [load_recorded(one.run, None, None) for one in runs]
    assert samples.num_rows == sum(len(one.track) for one in recorded)
    assert spans.num_rows == sum(len(one.spans.columns["kind"]) for one in recorded)
    assert all(set(table["simulated"].to_pylist()) == {True} for table in (samples, spans, run_rows))
    assert run_rows["label"].to_pylist() == ["baseline-1", "baseline-1"]
    decode = duckdb.sql(f"SELECT sum(metered_j) FROM '{tables}/spans.parquet' WHERE kind = 'decode'").fetchall()[0][0]
    assert decode == pytest.approx(sum(one.truth["decode"]["energy_j"] for one in runs), rel=0.1)


def test_what_was_not_measured_is_null_not_zero(tables):
    nulls = duckdb.sql(f"SELECT count(*) FROM '{tables}/spans.parquet' WHERE phase IS NULL AND kind = 'idle'").fetchall()[0][0]
    assert nulls == 4
    assert duckdb.sql(f"SELECT count(*) FROM '{tables}/samples.parquet' WHERE isnan(power_w)").fetchall()[0][0] == 0


def test_csv_is_seconds_and_watts_that_the_simulator_can_replay(runs, tmp_path):
    out = tmp_path / "trace.csv"
    export("csv", runs[0].run, "--out", out)
    rows = list(csv.DictReader(out.open()))
    track = load_recorded(runs[0].run, None, None).track
    assert list(rows[0])[:2] == ["time_s", "power_w"] and len(rows) == len(track)
    assert [float(row["power_w"]) for row in rows] == pytest.approx(track.p_w.tolist(), abs=1e-4)
    assert {row["simulated"] for row in rows} == {"yes"} and {row["phase"] for row in rows} >= {"idle", "decode", ""}
    busy = next(row for row in rows if row["phase"] == "decode")
    start_ns = 10_000_000_000
    source = build_source(f"csv:{out}", None, lambda: start_ns, start_ns)
    at_ns = start_ns + round(float(busy["time_s"]) * 1e9)
    assert source.pieces(at_ns, at_ns + 1)[0][1] == float(busy["power_w"])


def test_several_runs_make_a_folder_of_traces(runs, tmp_path):
    export("csv", *(one.run for one in runs), "--out", tmp_path / "traces")
    assert sorted(path.name for path in (tmp_path / "traces").iterdir()) == ["0.csv", "1.csv"]


def test_what_cannot_be_written_or_read_is_one_sentence_and_leaves_nothing(runs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for kind, out in (("perfetto", "file/t"), ("parquet", "file/t"), ("csv", "file/t.csv")):
        done = CliRunner().invoke(main, ["export", kind, str(runs[0].run), "--out", str(tmp_path / out)])
        assert done.exit_code == 1 and "epid: cannot write" in done.output and "Traceback" not in done.output
    done = CliRunner().invoke(main, ["export", "csv", str(tmp_path / "file"), "--out", str(tmp_path / "o.csv")])
    assert done.exit_code == 4 and "is not a run file" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_missing_package_is_one_sentence(runs, tmp_path, monkeypatch):
    assert importlib.util.find_spec("pyarrow")
    monkeypatch.setitem(__import__("sys").modules, "epid.export.parquet", None)
    done = CliRunner().invoke(main, ["export", "parquet", str(runs[0].run), "--out", str(tmp_path / "t")])
    assert done.exit_code == 2 and "this export needs the package pyarrow: pip install 'epid[export]'" in done.output
