"""lm-evaluation-harness: BLiMP's files as its tasks, and a cut model in its own adapter where it is installed."""

import importlib.util
import json

import pytest

pytest.importorskip("torch")

from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.harness import blimp_tasks, harness_model

PAIR = {"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps.", "linguistics_term": "agreement"}


@pytest.fixture
def blimp(tmp_path):
    for name in ("b_test", "a_test"):
        (tmp_path / f"{name}.jsonl").write_text(f"{json.dumps(PAIR)}\n" * 3)
    return tmp_path


def test_each_file_is_a_task_that_reads_nothing_else(blimp):
    tasks = blimp_tasks(blimp)
    assert [task["task"] for task in tasks] == ["blimp_a_test", "blimp_b_test"]
    assert [task["dataset_kwargs"]["data_files"]["train"] for task in tasks] == [
        str(blimp / name) for name in ("a_test.jsonl", "b_test.jsonl")
    ]
    assert {task["validation_split"] for task in tasks} == {"train"}


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(SurgeryError, match=r"no \.jsonl file there"):
        blimp_tasks(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="the harness is installed here")
def test_without_the_harness_it_says_what_to_install(tmp_path):
    with pytest.raises(SurgeryError, match=r"pip install 'epi-surgery\[harness\]'"):
        harness_model(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="lm-evaluation-harness is not installed")
def test_the_harness_reads_the_tasks(blimp, monkeypatch):
    from lm_eval.api.task import ConfigurableTask

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(blimp / "cache"))
    task = ConfigurableTask(config=blimp_tasks(blimp)[0])
    documents = list(task.validation_docs())
    assert len(documents) == 3
    assert (
        task.doc_to_choice(documents[0]) == [PAIR["sentence_good"], PAIR["sentence_bad"]]
        and task.doc_to_target(documents[0]) == 0
    )
