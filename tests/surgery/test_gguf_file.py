"""Reading and rewriting GGUF containers, against the reference package's reader, and every way a file can be broken."""

import io
import struct

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epi_surgery.architecture import architecture_of
from epi_surgery.errors import NotAGguf, SurgeryError, UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gguf_write import write_gguf, written_bytes
from epi_surgery.metadata import entry_value
from epi_surgery.recipe import verbatim


def test_tensors_and_keys_agree_with_the_reference_reader(pico_once):
    reference = gguf.GGUFReader(pico_once)
    with GgufFile(pico_once) as ours:
        assert [tensor.name for tensor in reference.tensors] == list(ours.tensors)
        for tensor in reference.tensors:
            mine = ours.tensors[tensor.name]
            assert (tensor.tensor_type, tuple(tensor.shape), tensor.data_offset) == (mine.type, mine.shape, mine.offset)
            assert b"".join(ours.chunks(mine)) == tensor.data.tobytes()
        plain = {key: field for key, field in reference.fields.items() if not key.startswith("GGUF.")}
        assert list(plain) == list(ours.entries)
        for key, field in plain.items():
            value = entry_value(ours.entries[key])
            if value is not None:
                expected = field.contents()
                assert value == (tuple(expected) if isinstance(expected, list) else expected), key


def test_rewriting_verbatim_gives_the_same_file(pico_once):
    with GgufFile(pico_once) as model:
        out = io.BytesIO()
        recipes = [verbatim(model, tensor) for tensor in model.tensors.values()]
        entries = list(model.entries.values())
        write_gguf(out.write, entries, recipes, model.alignment)
        assert out.getvalue() == pico_once.read_bytes()
        assert written_bytes(entries, recipes, model.alignment) == len(out.getvalue())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1))
def test_a_truncated_file_is_refused_wherever_it_ends(pico_once, tmp_path, where):
    data = pico_once.read_bytes()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(data[: int(where * (len(data) - 1))])
    with pytest.raises(NotAGguf, match=r"truncated|damaged|not a GGUF"):
        GgufFile(broken)


def test_truncated_in_the_header_at_every_byte(pico_once, tmp_path):
    data = pico_once.read_bytes()[:9000]
    broken = tmp_path / "broken.gguf"
    for end in [*range(64), *range(64, len(data), 97)]:
        broken.write_bytes(data[:end])
        with pytest.raises(NotAGguf):
            GgufFile(broken)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 12_000), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_never_escapes_as_another_error(pico_once, tmp_path, at, junk):
    data = bytearray(pico_once.read_bytes())
    data[at : at + len(junk)] = junk
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(data)
    try:
        with GgufFile(broken) as model:
            architecture_of(model)
    except SurgeryError as error:
        assert str(broken) in str(error) or "heads" in str(error)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not a GGUF"),
        (b"PK\x03\x04" + b"\0" * 100, "not a GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60), "truncated"),
    ],
)
def test_what_is_no_gguf_says_so(tmp_path, data, word):
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(NotAGguf, match=word):
        GgufFile(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(SurgeryError, match="no such file"):
        GgufFile(tmp_path / "none.gguf")
    with pytest.raises(SurgeryError, match="is a directory"):
        GgufFile(tmp_path)


ONES = np.ones((8, 256), dtype=np.float32)


@pytest.mark.parametrize(
    ("settings_", "name"),
    [
        ({"extra": {"blk.1.ffn_gate_inp.weight": ONES}}, "blk.1.ffn_gate_inp.weight: a mixture of experts"),
        ({"extra": {"blk.0.ffn_gate_exps.weight": ONES}}, "blk.0.ffn_gate_exps.weight: a mixture of experts"),
        ({"extra": {"blk.2.attn_qkv.weight": ONES}}, "blk.2.attn_qkv.weight: fused"),
        ({"extra": {"blk.0.attn_sinks.weight": ONES}}, "blk.0.attn_sinks.weight: not a part"),
        ({"arch": "gemma3"}, "architecture 'gemma3'"),
        ({"arch": "qwen2"}, "architecture 'qwen2' is not one that llama.cpp can load with fewer heads"),
        ({"n_head": 7, "n_kv": 3}, "7 query heads cannot be shared evenly by 3"),
    ],
)
def test_models_that_are_not_llama_shaped_are_refused_by_name(pico, settings_, name):
    with GgufFile(pico(**settings_)) as model, pytest.raises(SurgeryError, match=name):
        architecture_of(model)


def test_a_missing_tensor_is_named(pico):
    path = pico()
    path.write_bytes(path.read_bytes().replace(b"blk.1.attn_k.weight", b"blk.1.attn_X.weight"))
    with GgufFile(path) as model, pytest.raises(UnsupportedModel, match=r"blk\.1\.attn_X"):
        architecture_of(model)
    path.write_bytes(path.read_bytes().replace(b"blk.1.attn_X.weight", b"blk.7.attn_k.weight"))
    with GgufFile(path) as model, pytest.raises(UnsupportedModel, match=r"blk\.1\.attn_k\.weight is missing"):
        architecture_of(model)
