"""The page in a real browser: everything is drawn, nothing overflows, and the screenshot is no blank sheet."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner

from epid.cli import main
from fakes import experiment

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-background-networking"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page with")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    target = tmp_path_factory.mktemp("page") / "report.html"
    done = CliRunner().invoke(main, ["report", *map(str, experiment.paths()), "--html", str(target)])
    assert done.exit_code == 0, done.output
    return target


def browse(report, *arguments):
    profile = report.parent / "profile"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=8000", *arguments, report.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def test_plotly_draws_every_figure_without_an_error(report):
    drawn = browse(report, "--enable-logging=stderr", "--dump-dom")
    figures = re.findall(r'id="plot-([a-z-]+)"', drawn.stdout)
    assert len(figures) == 9 and drawn.stdout.count('class="main-svg"') >= 2 * len(figures)
    assert "Uncaught" not in drawn.stderr


def test_a_person_would_accept_the_screenshot(report):
    """Ink on every stripe of the sheet, and the colours of arms, phases and of the mark of a simulated meter."""
    picture = report.with_name("shot.png")
    browse(report, "--window-size=1240,5200", f"--screenshot={picture}")
    pixels = _pixels(picture)
    assert pixels.shape[:2] == (5200, 1240)
    stripes = pixels.reshape(13, 400, 1240, 3)
    assert all(len(np.unique(stripe.reshape(-1, 3), axis=0)) > 30 for stripe in stripes)
    for colour in ("#0b69a3", "#f9703e", "#ba2525"):  # an arm, a phase, the mark of a simulated meter
        wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
        assert (np.abs(pixels.astype(int) - wanted).max(axis=2) < 12).sum() > 200, colour


def _pixels(path):
    from matplotlib.image import imread

    return np.round(imread(path)[:, :, :3] * 255).astype(np.uint8)
