"""One file per figure of the report, from a study to a description of what is drawn; and all of them in reading order."""

from __future__ import annotations

from ...analysis.study.study import Study
from ..figure import Figure
from .epi_figure import epi_figure
from .group_figure import group_figure
from .half_energy_figure import half_energy_figure
from .kappa_figure import kappa_figure
from .layer_energy_figure import layer_energy_figure
from .layer_time_figure import layer_time_figure
from .pareto_figure import pareto_figure
from .power_figure import power_figure
from .saving_figure import saving_figure
from .token_figure import token_figure


def figures_of(study: Study) -> list[Figure]:
    """Every figure that this study has something for."""
    firsts = [arm.runs[0] for arm in study.arms]
    found = (
        token_figure(study),
        saving_figure(study),
        kappa_figure(study),
        epi_figure(study),
        pareto_figure(study),
        power_figure(firsts),
        layer_time_figure(study),
        layer_energy_figure(study),
        half_energy_figure(study),
        group_figure(study),
    )
    return [figure for figure in found if figure is not None]
