"""The header reader against files written by hand, a real model, and every way of cutting one off."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookrun.errors import HookrunError
from hookrun.gguf_header import LONGEST_ARRAY, read_header

from .gguf_maker import gguf, llama

TEXT = st.text(max_size=12)
NUMBERS = st.integers(0, (1 << 32) - 1)
VALUES = st.one_of(NUMBERS, TEXT, st.booleans(), st.lists(NUMBERS, max_size=5), st.lists(TEXT, max_size=5))
TENSORS = st.lists(
    st.tuples(TEXT, st.lists(st.integers(1, 1 << 20), min_size=1, max_size=4).map(tuple), st.sampled_from([0, 3, 8])), max_size=4
)


@given(st.dictionaries(TEXT, VALUES, max_size=6), TENSORS, st.sampled_from([2, 3]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(tmp_path: Path, metadata: dict[str, Any], tensors: list, version: int) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(metadata, tensors, version) + bytes(64))
    header = read_header(path)
    assert header.version == version
    assert dict(header.metadata) == {key: tuple(thing) if isinstance(thing, list) else thing for key, thing in metadata.items()}
    assert [(tensor.name, tensor.shape) for tensor in header.tensors] == [(name, shape) for name, shape, _kind in tensors]


def test_a_file_cut_anywhere_gets_one_sentence(tmp_path: Path) -> None:
    whole = gguf(llama(), [("token_embd.weight", (64, 100), 8)])
    path = tmp_path / "m.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(HookrunError, match=r"not a GGUF file|damaged or cut-off|cannot read"):
            read_header(path)
    path.write_bytes(whole)
    assert read_header(path).quantisation() == "Q8_0"


def test_long_arrays_are_stepped_over(tmp_path: Path) -> None:
    count = LONGEST_ARRAY + 1
    metadata = {"words": ["ab"] * count, "scores": [1] * count, "behind": 5}
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(metadata) + bytes(32))
    assert dict(read_header(path).metadata) == {"words": None, "scores": None, "behind": 5}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"hello, this is not a model at all", "not a GGUF file"),
        (b"", "not a GGUF file"),
        (gguf({}, version=1) + bytes(32), "GGUF version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(32), "little-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60) + bytes(64), "unknown type|damaged|cut"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 62) + bytes(64), "damaged or cut-off"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"x" + struct.pack("<I", 99) + bytes(64), "unknown type 99"),
    ],
)
def test_what_is_no_gguf_gets_one_sentence(tmp_path: Path, data: bytes, complaint: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(HookrunError, match=complaint):
        read_header(path)


def test_a_missing_file_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HookrunError, match="No such file"):
        read_header(tmp_path / "nowhere.gguf")
    with pytest.raises(HookrunError, match="cannot read the model"):
        read_header(tmp_path)


def test_a_real_model(smollm2: Path) -> None:
    header = read_header(smollm2)
    assert (header.version, len(header.tensors), len(header.metadata)) == (3, 272, 33)
    assert header.metadata["llama.block_count"] == 30
    assert header.quantisation() == "Q4_1"
