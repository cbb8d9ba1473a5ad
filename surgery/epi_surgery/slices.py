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

from epi_surgery.gguf_file import GgufFile
from epi_surgery.tensor import Tensor, block_bytes, block_size, row_bytes

Floats = npt.NDArray[np.float32]


def blocks_of(heads: Sequence[int], width: int, block: int) -> list[int] | None:
    """The quantisation blocks that hold exactly these heads' columns, in order; None where some block straddles the cut."""
    elements = [head * width + offset for head in heads for offset in range(0, width, _step(width, block))]
    stride = _step(width, block)
    per_block = block // stride
    groups = [elements[i : i + per_block] for i in range(0, len(elements), per_block)]
    whole = all(group == list(range(group[0], group[0] + block, stride)) and group[0] % block == 0 for group in groups)
    return [group[0] // block for group in groups] if whole else None


def take_rows(model: GgufFile, tensor: Tensor, heads: Sequence[int], width: int) -> Iterator[bytes]:
    """The rows (for a bias: the elements) of the given heads, `width` to a head, one head at a time."""
    unit = row_bytes(tensor.type, width) if len(tensor.shape) == 1 else width * tensor.row_bytes
    for head in heads:
        yield model.span(tensor.offset + head * unit, unit)


def take_columns(model: GgufFile, tensor: Tensor, blocks: Sequence[int]) -> Iterator[bytes]:
    """The given blocks of every row."""
    for rows in _block_rows(model, tensor):
        yield rows[:, list(blocks)].tobytes()


def mask_columns(model: GgufFile, tensor: Tensor, blocks: Sequence[int]) -> Iterator[bytes]:
    """The whole tensor with every block but the given ones set to zero."""
    for rows in _block_rows(model, tensor):
        masked = np.zeros_like(rows)
        masked[:, list(blocks)] = rows[:, list(blocks)]
        yield masked.tobytes()


def requantised_type(width: int) -> GGMLQuantizationType:
    """What a straddled tensor is stored as: Q8_0 where its blocks line up with heads, else F16."""
    kind = GGMLQuantizationType.Q8_0
    return kind if width % block_size(kind) == 0 else GGMLQuantizationType.F16


def requantise_columns(model: GgufFile, tensor: Tensor, heads: Sequence[int], width: int) -> Iterator[bytes]:
    """The given heads' columns, decoded and stored again as `requantised_type(width)`."""
    for rows in decoded_rows(model, tensor):
        by_head = rows.reshape(len(rows), -1, width)
        yield _encoded(by_head[:, list(heads)], width)


def requantise_masked(model: GgufFile, tensor: Tensor, heads: Sequence[int], width: int) -> Iterator[bytes]:
    """All columns, those of other heads set to zero, stored again as `requantised_type(width)`."""
    for rows in decoded_rows(model, tensor):
        by_head = rows.reshape(len(rows), -1, width)
        masked = np.zeros_like(by_head)
        masked[:, list(heads)] = by_head[:, list(heads)]
        yield _encoded(masked, width)


def decoded_rows(model: GgufFile, tensor: Tensor) -> Iterator[Floats]:
    """The tensor's rows as float32, some 8 MiB of file at a time."""
    for chunk in model.chunks(tensor):
        stored = np.frombuffer(chunk, dtype=np.uint8).reshape(-1, tensor.row_bytes)
        yield np.ascontiguousarray(dequantize(stored, tensor.type), dtype=np.float32)


def _step(width: int, block: int) -> int:
    return gcd(width, block)


def _block_rows(model: GgufFile, tensor: Tensor) -> Iterator[npt.NDArray[np.uint8]]:
    for chunk in model.chunks(tensor):
        yield np.frombuffer(chunk, dtype=np.uint8).reshape(
            -1, tensor.shape[0] // block_size(tensor.type), block_bytes(tensor.type)
        )


def _encoded(by_head: Floats, width: int) -> bytes:
    flat = np.ascontiguousarray(by_head.reshape(len(by_head), -1))
    return bytes(np.ascontiguousarray(quantize(flat, requantised_type(width))).tobytes())
