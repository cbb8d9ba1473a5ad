"""Bytewise slices of every quantisation against numpy slices of the decoded weights."""

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.gguf_file import GgufFile
from epi_surgery.slices import blocks_of, mask_columns, requantise_columns, requantise_masked, take_columns, take_rows
from epi_surgery.tensor import block_size

Q = gguf.GGMLQuantizationType
NARROW = [Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]
WIDE = [Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.IQ4_XS]


def stored(kind, rows, columns, random):
    """Random rows in a quantisation; K-quants, which the gguf package cannot encode, as random block bytes."""
    if kind in NARROW:
        return quantize(random.standard_normal((rows, columns)).astype(np.float32), kind)
    data = random.integers(0, 256, (rows, gguf.GGML_QUANT_SIZES[kind][1] * (columns // 256)), dtype=np.uint8)
    return data & 0x3F  # keeps the float16 scales among the random bytes finite


def one_tensor(path, kind, rows=24, columns=1024):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w", stored(kind, rows, columns, np.random.default_rng(int(kind))), raw_dtype=kind)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return path


def decoded(chunks, kind, rows):
    data = np.frombuffer(b"".join(chunks), dtype=np.uint8).reshape(rows, -1)
    return np.asarray(dequantize(data, kind), dtype=np.float32)


@pytest.mark.parametrize("kind", NARROW + WIDE, ids=lambda kind: kind.name)
def test_rows_and_columns_are_the_decoded_slices(tmp_path, kind):
    heads, width = [0, 2, 3], 64 if kind in NARROW else 256
    with GgufFile(one_tensor(tmp_path / "t.gguf", kind)) as model:
        tensor = model.tensors["w"]
        full = decoded(model.chunks(tensor), kind, 24)
        rows = decoded(take_rows(model, tensor, heads, 6), kind, 18)
        np.testing.assert_array_equal(rows, full.reshape(4, 6, -1)[heads].reshape(18, -1))
        blocks = blocks_of(heads, width, block_size(kind))
        columns = decoded(take_columns(model, tensor, blocks), kind, 24)
        by_head = full.reshape(24, -1, width)
        np.testing.assert_array_equal(columns, by_head[:, heads].reshape(24, -1))
        masked = decoded(mask_columns(model, tensor, blocks), kind, 24).reshape(24, -1, width)
        gone = [head for head in range(by_head.shape[1]) if head not in heads]
        np.testing.assert_array_equal(masked[:, heads], by_head[:, heads])
        assert not masked[:, gone].any()


@pytest.mark.parametrize("kind", [Q.Q4_K, Q.Q6_K], ids=lambda kind: kind.name)
def test_straddled_blocks_are_requantised_alike_in_cut_and_twin(tmp_path, kind):
    heads = [1, 2, 7]
    with GgufFile(one_tensor(tmp_path / "t.gguf", kind)) as model:
        tensor = model.tensors["w"]
        assert blocks_of(heads, 64, 256) is None
        by_head = decoded(model.chunks(tensor), kind, 24).reshape(24, 16, 64)
        cut = decoded(requantise_columns(model, tensor, heads, 64), Q.Q8_0, 24).reshape(24, 3, 64)
        twin = decoded(requantise_masked(model, tensor, heads, 64), Q.Q8_0, 24).reshape(24, 16, 64)
        np.testing.assert_array_equal(cut, twin[:, heads])
        assert np.abs(cut - by_head[:, heads]).max() <= np.abs(by_head).max() / 127
        assert np.count_nonzero(np.abs(twin).sum(axis=(0, 2))) == 3


@pytest.mark.parametrize("kind", NARROW + WIDE, ids=lambda kind: kind.name)
def test_zero_bytes_decode_to_zero(kind):
    _, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    assert not np.asarray(dequantize(np.zeros((1, n_bytes), dtype=np.uint8), kind)).any()


@given(st.sets(st.integers(0, 15), min_size=1), st.sampled_from([16, 32, 64, 80, 128, 256]), st.sampled_from([1, 32, 256]))
def test_blocks_are_whole_exactly_when_no_block_straddles(heads, width, block):
    kept = {head * width + i for head in heads for i in range(width)}
    touched = {element // block for element in kept}
    straddles = any(b * block + i not in kept for b in touched for i in range(block))
    found = blocks_of(sorted(heads), width, block)
    assert found == (None if straddles else sorted(touched))
