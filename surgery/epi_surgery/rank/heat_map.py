"""Scores as a picture: layers down, heads across, those that leave marked, groups of one KV head set apart."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from epi_surgery.errors import SurgeryError
from epi_surgery.norms import Scores
from epi_surgery.output import final_name

CANVASES = {".png": FigureCanvasAgg, ".svg": FigureCanvasSVG}


def check_figure(path: Path) -> None:
    """Refuse a name whose ending is no format that can be drawn."""
    if path.suffix not in CANVASES:
        raise SurgeryError(f"{path}: figures are drawn as {' or '.join(CANVASES)}; choose such an ending")


def draw_heat_map(path: Path, scores: Scores, title: str, removed: Sequence[Sequence[int]], group: int = 1) -> None:
    """Draw the scores; `removed` lists the heads to mark per layer, `group` is the query heads per KV head."""
    check_figure(path)
    grid = _grid(scores)
    figure = Figure(figsize=(1.8 + 0.28 * grid.shape[1], 1.2 + 0.22 * grid.shape[0]), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(grid, aspect="auto", cmap="viridis" if np.nanmin(grid) >= 0 else "RdBu_r", norm=_norm(grid))
    for layer, heads in enumerate(removed):
        # Black on white: readable on dark cells and on light ones.
        axes.scatter(list(heads), [layer] * len(heads), marker="x", s=28, color="white", linewidths=2.6)
        axes.scatter(list(heads), [layer] * len(heads), marker="x", s=22, color="black", linewidths=1.1)
    for edge in range(group, grid.shape[1], group) if group > 1 else ():
        axes.axvline(edge - 0.5, color="white", linewidth=1.0)
    axes.set(xlabel="query head", ylabel="layer", title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, label="score (low leaves first)")
    with final_name(path) as part, part.open("wb") as file:
        CANVASES[path.suffix](figure).print_figure(file, format=path.suffix[1:], dpi=150)


def _grid(scores: Scores) -> np.ndarray:
    grid = np.full((len(scores), max(len(row) for row in scores)), np.nan)
    for layer, row in enumerate(scores):
        grid[layer, : len(row)] = row
    return grid


def _norm(grid: np.ndarray) -> Normalize:
    low, high = float(np.nanmin(grid)), float(np.nanmax(grid))
    return TwoSlopeNorm(0.0, low, high) if low < 0 < high else Normalize(low, high)
