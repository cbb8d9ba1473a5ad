"""Models cut in PyTorch under lm-evaluation-harness, through its own adapter for transformers, and BLiMP as its tasks.

    import lm_eval
    from epi_surgery.evaluate.harness import blimp_tasks, harness_model

    lm_eval.simple_evaluate(harness_model("ragged-cut"), tasks=[*blimp_tasks("blimp"), "arc_easy"])

Tasks of the harness's own collection fetch their data; these read a folder. The harness is asked for nothing else: it
begins every sentence with the BOS token, as `epi-surgery eval --bos` does. Needs `pip install 'epi-surgery[torch,harness]'`.
"""

from pathlib import Path
from typing import Any

import torch

from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.blimp import files_of
from epi_surgery.model.source import Source, find_source
from epi_surgery.model.tokens import tokenizer_of
from epi_surgery.torch_cut.checkpoint import is_checkpoint
from epi_surgery.torch_cut.checkpoint import load as load_checkpoint


def harness_model(path: Path | str, dtype: torch.dtype | None = None, batch_size: int = 16) -> Any:
    """The harness's `hf` model around a folder that `epi-surgery cut` wrote, or around the uncut one that it came from.

    Raises SurgeryError where the harness is not installed, or for a folder that is neither.
    """
    try:
        from lm_eval.models.huggingface import HFLM  # type: ignore[import-not-found,import-untyped]
    except ImportError as error:
        raise SurgeryError("lm-evaluation-harness is not installed; pip install 'epi-surgery[harness]'") from error
    folder = Path(path)
    source = Source(folder, {}) if is_checkpoint(folder) else find_source(folder)
    return HFLM(pretrained=_model(folder, dtype), tokenizer=tokenizer_of(source), batch_size=batch_size, device="cpu")


def blimp_tasks(folder: Path | str) -> list[dict[str, Any]]:
    """One task for each .jsonl file of the folder, `blimp_NAME`; nothing is downloaded."""
    return [_task(file) for file in files_of(Path(folder))]


def _model(folder: Path, dtype: torch.dtype | None) -> Any:
    if is_checkpoint(folder):
        return load_checkpoint(folder, dtype)
    from epi_surgery.model.load import load

    return load(folder, dtype or torch.float32).model


def _task(file: Path) -> dict[str, Any]:
    return {
        "task": f"blimp_{file.stem}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"train": str(file)}},
        "validation_split": "train",
        "output_type": "multiple_choice",
        "doc_to_text": "",
        "doc_to_target": 0,
        "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
        "target_delimiter": "",  # by default a space, which would be scored
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc"}],
    }
