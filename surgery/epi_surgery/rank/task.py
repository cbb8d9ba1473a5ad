"""A ranking from beginning to end: model, calibration, scores, and a record from which it can be done again."""

import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers

from epi_surgery import __version__
from epi_surgery.architecture import architecture_of
from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.model.load import DTYPES, check_all_attend, load
from epi_surgery.model.offload import Offload
from epi_surgery.model.source import Source, find_source, identify, n_bytes_of
from epi_surgery.norms import Scores, norm_scores
from epi_surgery.plan import ModelId
from epi_surgery.progress import Bar
from epi_surgery.rank import names
from epi_surgery.rank.calibration import Wanted, calibrate
from epi_surgery.rank.criteria import Needs, score_on_text
from epi_surgery.rank.journal import Journal
from epi_surgery.rank.l0 import Training
from epi_surgery.rank.order import protected
from epi_surgery.rank.weights import folder_norms
from epi_surgery.score_file import HeadScores
from epi_surgery.scores import random_scores


@dataclass(frozen=True)
class Task:
    """What to rank by, and on what. `journal` is where a long ranking notes what it has."""

    criterion: str
    calibration: Wanted
    training: Training = field(default_factory=Training)
    protected: tuple[int, ...] = ()
    dtype: str = "float32"
    offload: Offload | None = None
    journal: Path | None = None


def rank_model(path: Path, task: Task, cache: Path | None, bar: Bar) -> HeadScores:
    """Rank the heads of a folder or GGUF; raises SurgeryError in one sentence for what cannot be ranked."""
    source = find_source(path)
    with bar("hashing the model", n_bytes_of(source)) as advance:
        identity = identify(source, cache, advance)
    provenance: dict[str, Any] = {"seed": task.calibration.seed, "protected": list(task.protected), "versions": _versions()}
    if task.criterion in names.ON_WEIGHTS:
        scores = _from_weights(source, task, bar)
        _check_protected(task.protected, len(scores))
    else:
        scores, more = _from_text(source, identity, task, bar)
        provenance |= more
    if task.protected:
        scores = protected(scores, task.protected)
    return HeadScores(identity, task.criterion, scores, provenance)


def _from_text(source: Source, identity: ModelId, task: Task, bar: Bar) -> tuple[Scores, dict[str, Any]]:
    loaded = load(source.path, DTYPES[task.dtype], task.offload, bar)
    check_all_attend(loaded)
    _check_protected(task.protected, len(loaded.n_head))
    windows, origin = calibrate(loaded, task.calibration)
    facts: dict[str, Any] = {
        "texts": origin,
        "tokens": windows.numel(),
        "window": task.calibration.window,
        "bos": False,
        "dtype": task.dtype,
    }
    if task.criterion in names.GATES:
        facts["training"] = asdict(task.training)
    with Journal(task.journal, f"{identity.sha256} {task.criterion} {facts} seed {task.calibration.seed}") as journal:
        scores = score_on_text(loaded, task.criterion, windows, Needs(task.training, journal), bar)
    return scores, facts


def _from_weights(source: Source, task: Task, bar: Bar) -> Scores:
    if source.config is not None:
        return _from_folder(source, source.config, task, bar)
    with GgufFile(source.path) as model:
        arch = architecture_of(model)
        if task.criterion == "random":
            return random_scores(arch.n_head, task.calibration.seed)
        with bar(f"ranking by {task.criterion}", arch.n_layer) as advance:
            return norm_scores(model, arch, int(task.criterion[1]), False, advance)


def _from_folder(source: Source, config: dict[str, Any], task: Task, bar: Bar) -> Scores:
    n_layer, n_head = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
    if task.criterion == "random":
        return random_scores((n_head,) * n_layer, task.calibration.seed)
    with bar(f"ranking by {task.criterion}", n_layer) as advance:
        return folder_norms(source, int(task.criterion[1]), advance)


def _check_protected(layers: tuple[int, ...], n_layer: int) -> None:
    foreign = [layer for layer in layers if not 0 <= layer < n_layer]
    if foreign:
        raise SurgeryError(f"layer {foreign[0]} cannot be protected: the model's layers are 0 to {n_layer - 1}")


def _versions() -> dict[str, str]:
    return {
        "epi_surgery": __version__,
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "numpy": str(numpy.__version__),
        "python": platform.python_version(),
    }
