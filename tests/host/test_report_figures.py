"""Figures: what is drawn is what was measured, and both renderers draw all of it."""

from dataclasses import replace

import numpy as np
import pytest

from epid.analysis.study.study import load_study
from epid.report.figure import Axis, Figure, Heat, Panel, Rule, Series
from epid.report.figures import figures_of
from epid.report.figures.power_figure import trace
from epid.report.matplotlib_figure import save_figure
from epid.report.plotly_figure import plotly_figure
from fakes import experiment


@pytest.fixture(scope="module")
def study():
    return load_study(experiment.paths())


@pytest.fixture(scope="module")
def figures(study):
    return {figure.name: figure for figure in figures_of(study)}


def test_every_figure_of_the_paper_is_drawn(figures):
    wanted = ["joules-per-token", "saving", "kappa", "epi", "pareto", "power", "layer-time", "layer-energy", "kv-groups"]
    assert list(figures) == wanted


def test_every_axis_has_its_unit_or_its_categories(figures):
    for figure in figures.values():
        for panel in figure.panels:
            assert all(axis.label or axis.categories for axis in (panel.x, panel.y)), figure.name


def test_the_power_overlay_lines_runs_up_at_their_first_request(figures, study):
    upper, lower = figures["power"].panels
    assert [series.name for series in upper.series] == [study.arms[0].runs[0].run.label, study.arms[1].runs[0].run.label]
    first = [min(block.x0 for block in lower.blocks if block.row == row and block.name == "prefill") for row in (0, 1)]
    assert first == pytest.approx([0.0, 0.0], abs=1e-6)
    assert np.nanmax(upper.series[0].y) == pytest.approx(np.nanmax(study.arms[0].runs[0].track.p_w), abs=1e-3)


def test_lost_frames_are_a_hole_in_the_line(study):
    summary = study.summaries[0]
    lost = summary.track.lost.copy()
    lost[100] = 3
    t_s, p_w = trace(replace(summary, track=replace(summary.track, lost=lost)))
    assert len(t_s) == len(summary.track) + 1 and np.isnan(p_w[100]) and np.isfinite(p_w[101])


def test_the_heat_map_marks_the_layers_that_lost_heads(figures):
    attention, _ffn, change = figures["layer-time"].panels
    assert attention.heat.values.shape == (2, 4) and change.heat.values.shape == (1, 4)
    assert (attention.heat.values[1] < 0.8 * attention.heat.values[0]).all()
    assert all("○" in mark for mark in change.heat.marks[0]) and (change.heat.values < 0).all()


def test_kappa_and_threshold_are_the_study_s(figures, study):
    (panel,) = figures["kappa"].panels
    (points,) = panel.series
    kappa = study.comparisons[0].kappa
    assert (points.y[0], points.low[0], points.high[0]) == pytest.approx((kappa.value, kappa.low, kappa.high))
    assert points.x.tolist() == [50.0]


def test_plotly_draws_every_series_and_every_rule(figures):
    for figure in figures.values():
        drawn = plotly_figure(figure)
        wanted = sum(
            len(panel.series) + (panel.heat is not None) + len({block.name for block in panel.blocks}) for panel in figure.panels
        )
        assert len(drawn.data) == wanted, figure.name
        assert len(drawn.layout.shapes) == sum(len(panel.rules) for panel in figure.panels), figure.name
        assert "simulated meter" in [note.text for note in drawn.layout.annotations]


def test_an_interval_is_drawn_from_its_low_to_its_high_end():
    one = np.array([2.0])
    series = Series("s", one, one, "#000000", low=one - 0.5, high=one + 1.0)
    figure = Figure("f", "F", (Panel(Axis("x"), Axis("y"), series=(series,)),), simulated=False)
    error = plotly_figure(figure).data[0].error_y
    assert (error.arrayminus[0], error.array[0]) == (0.5, 1.0)


def test_files_of_every_kind_of_panel(tmp_path):
    x = np.arange(3.0)
    panels = (
        Panel(Axis("x"), Axis("y", from_zero=True), series=(Series("l", x, x, "#000000", "line"),), rules=(Rule(1, "here"),)),
        Panel(Axis("x"), Axis("y"), series=(Series("p", x, x, "#000000", "line+points", low=x - 1, high=x + 1),)),
        Panel(Axis("x"), Axis("", categories=("a", "b", "c")), series=(Series("b", x, x, "#000000", "bars"),)),
        Panel(Axis("x"), Axis("y"), heat=Heat(np.array([[1.0, np.nan]]), "µs", marks=(("▲", ""),))),
    )
    png, svg = save_figure(Figure("all", "All", panels, simulated=True), tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG") and "<svg" in svg.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.png", "all.svg"]


def test_a_heat_map_of_nothing_stays_pale():
    assert Heat(np.array([[0.01, -0.02]]), "%", diverging=True).limits == (-2.0, 2.0)
    assert Heat(np.array([[10.0, 11.0]]), "µs").limits == (0.0, 11.0)


def test_one_run_alone_has_no_comparison_figures():
    study = load_study(experiment.paths()[:1])
    assert [figure.name for figure in figures_of(study)] == ["joules-per-token", "power", "layer-time", "layer-energy"]
