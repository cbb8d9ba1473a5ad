"""Cut heads out of a tensor's bytes without decoding them.

Query, key and value weights store one row per output element, so head `h` of width `w` is the contiguous run of rows
[h*w, (h+1)*w) in any quantisation. The output projection reads the heads side by side along its rows, so there a head is
a run of columns, and columns can be taken bytewise only in whole quantisation blocks:

    blocks of 32, head of 64     | 0 : 0 | 1 : 1 | 2 : 2 |    any head comes out alone
    blocks of 256, head of 64    | 0   1   2   3 | 4   5 ...  only heads 0-3, 4-7, … together

Where blocks straddle kept and removed heads, that one tensor is decoded and stored again as Q8_0 (blocks of 32). A block
whose bytes are all zero decodes to zeros in every GGUF type (its scale is zero), which is how heads are masked.
"""

from collections.abc import Iterator, Sequence
from math import gcd

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from epi_surgery.recipe import Bytes
from epi_surgery.stored import Heads
from epi_surgery.tensor import Tensor, block_bytes, block_size, row_bytes

Floats = npt.NDArray[np.float32]
Bytewise = npt.NDArray[np.uint8]
Blocks = Sequence[int | None]
_STRADDLED = -1


def blocks_of(heads: Heads, width: int, block: int) -> Blocks | None:
    """The quantisation blocks that hold exactly these heads' columns, in order (None for a block of zeros).

    None as a whole where some block straddles kept heads and others.
    """
    stride = gcd(width, block)
    elements = [None if head is None else head * width + offset for head in heads for offset in range(0, width, stride)]
    per_block = block // stride
    found = [_block(elements[i : i + per_block], stride, block) for i in range(0, len(elements), per_block)]
    return None if _STRADDLED in found else [None if first is None else first // block for first in found]


def take_rows(model: Bytes, tensor: Tensor, heads: Heads, width: int) -> Iterator[bytes]:
    """The rows (for a bias: the elements) of the given heads, `width` to a head, one head at a time."""
    unit = row_bytes(tensor.type, width) if len(tensor.shape) == 1 else width * tensor.row_bytes
    for head in heads:
        yield bytes(unit) if head is None else model.span(tensor.offset + head * unit, unit)


def take_columns(model: Bytes, tensor: Tensor, blocks: Blocks) -> Iterator[bytes]:
    """The given blocks of every row, neighbours in one piece."""
    pieces, size = list(_runs(blocks)), block_bytes(tensor.type)
    for rows in _stored_rows(model, tensor):
        yield np.concatenate([_piece(rows, first, count, size) for first, count in pieces], axis=1).tobytes()


def mask_columns(model: Bytes, tensor: Tensor, blocks: Blocks) -> Iterator[bytes]:
    """The whole tensor with every block but the given ones set to zero."""
    pieces, size = list(_runs(blocks)), block_bytes(tensor.type)
    for rows in _stored_rows(model, tensor):
        masked = np.zeros_like(rows)
        for first, count in pieces:
            if first is not None:
                masked[:, first * size : (first + count) * size] = _piece(rows, first, count, size)
        yield masked.tobytes()


def requantised_type(width: int) -> GGMLQuantizationType:
    """What a straddled tensor is stored as: Q8_0 where its blocks line up with heads, else F16."""
    kind = GGMLQuantizationType.Q8_0
    return kind if width % block_size(kind) == 0 else GGMLQuantizationType.F16


def requantise_columns(model: Bytes, tensor: Tensor, heads: Heads, width: int) -> Iterator[bytes]:
    """The given heads' columns, decoded and stored again as `requantised_type(width)`."""
    source = [head or 0 for head in heads]
    zeros = [position for position, head in enumerate(heads) if head is None]
    for rows in decoded_rows(model, tensor):
        taken = rows.reshape(len(rows), -1, width)[:, source]
        taken[:, zeros] = 0
        yield _encoded(taken, width)


def requantise_masked(model: Bytes, tensor: Tensor, heads: Sequence[int], width: int) -> Iterator[bytes]:
    """All columns, those of other heads set to zero, stored again as `requantised_type(width)`."""
    for rows in decoded_rows(model, tensor):
        by_head = rows.reshape(len(rows), -1, width)
        masked = np.zeros_like(by_head)
        masked[:, list(heads)] = by_head[:, list(heads)]
        yield _encoded(masked, width)


def decoded_rows(model: Bytes, tensor: Tensor) -> Iterator[Floats]:
    """The tensor's rows as float32, some 8 MiB of file at a time."""
    for stored in _stored_rows(model, tensor):
        yield np.ascontiguousarray(dequantize(stored, tensor.type), dtype=np.float32)


def _block(elements: Sequence[int | None], stride: int, block: int) -> int | None:
    """The first column of the block these elements fill, None where all are zeros, _STRADDLED where they fill none."""
    first = elements[0]
    if first is None:
        return None if all(element is None for element in elements) and len(elements) * stride == block else _STRADDLED
    whole = first % block == 0 and list(elements) == list(range(first, first + block, stride))
    return first if whole else _STRADDLED


def _runs(blocks: Blocks) -> Iterator[tuple[int | None, int]]:
    """First block and length of every run of neighbours, None for one of zeros."""
    start = 0
    for end in range(1, len(blocks) + 1):
        if end == len(blocks) or blocks[end] != _after(blocks[end - 1]):
            yield blocks[start], end - start
            start = end


def _after(block: int | None) -> int | None:
    return None if block is None else block + 1


def _piece(rows: Bytewise, first: int | None, count: int, size: int) -> Bytewise:
    if first is None:
        return np.zeros((len(rows), count * size), dtype=np.uint8)
    return rows[:, first * size : (first + count) * size]


def _stored_rows(model: Bytes, tensor: Tensor) -> Iterator[Bytewise]:
    """The tensor's rows as they are stored, some 8 MiB at a time."""
    for chunk in model.chunks(tensor):
        yield np.frombuffer(chunk, dtype=np.uint8).reshape(-1, tensor.row_bytes)


def _encoded(by_head: Floats, width: int) -> bytes:
    flat = np.ascontiguousarray(by_head.reshape(len(by_head), -1))
    return bytes(np.ascontiguousarray(quantize(flat, requantised_type(width))).tobytes())
