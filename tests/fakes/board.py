"""A meter board without chips: HELLO, SAMPLE and PONG payloads for a power that the test chooses."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from epi_protocol import frame, messages

QUANTUM_J = 0.36
P_W = 0.125
BOOT = b"\x01\x02\x03\x04"


def description(n_channels: int = 4, simulated: bool = True, board_id: str = "e660123456789abc") -> dict[str, Any]:
    """The HELLO description of a board with so many channels."""
    scales = {"p_w": P_W, "q_var": P_W, "s_va": P_W, "u_v": 0.01, "i_a": 0.000125, "energy_j_per_tick": QUANTUM_J}
    channels = [{"name": f"ch{index}", **scales} for index in range(n_channels)]
    return {
        "board_id": board_id,
        "firmware": "0.1.0",
        "simulated": simulated,
        "ticks_hz": 1_000_000,
        "ticks_wrap": 1 << 30,
        "sample_hz": 20,
        "channels": channels,
    }


def hello(boot_id: bytes = BOOT, **changes: Any) -> bytes:
    """HELLO payload; keyword arguments replace keys of the description."""
    return messages.pack_hello(boot_id, description() | changes)


def sample(seq: int, board_us: int, watts: Sequence[float], joules: Sequence[float], **fields: Any) -> bytes:
    """SAMPLE payload: each channel draws `watts` and has counted the whole ticks in `joules`; `fields` go to every channel."""
    head = {"type": messages.SAMPLE, "boot_id": BOOT, "seq": seq, "board_us": board_us, "dropped": 0, "n_channels": len(watts)}
    head |= {name: fields.pop(name) for name in list(fields) if name in ("boot_id", "dropped")}
    payload = _pack(messages.SAMPLE_FIELDS, head)
    for index, (p_w, energy_j) in enumerate(zip(watts, joules, strict=True)):
        payload += _pack(messages.CHANNEL_FIELDS, _channel(index, p_w, energy_j) | fields)
    return payload


def pong(nonce: bytes, recv_us: int, send_us: int, boot_id: bytes = BOOT) -> bytes:
    """PONG payload."""
    return _pack(
        messages.PONG_FIELDS, {"type": messages.PONG, "boot_id": boot_id, "nonce": nonce, "recv_us": recv_us, "send_us": send_us}
    )


def stream(
    seconds: float,
    power_w: Callable[[float], float],
    hz: int = 20,
    start_us: int = 0,
    joules_at: Callable[[float], float] | None = None,
) -> list[tuple[int, bytes]]:
    """Return (board_us, SAMPLE payload) for one powered channel and three silent ones; energy is the power's running sum."""
    out, energy_j, step_s = [], 0.0, 1 / hz
    for seq in range(int(seconds * hz)):
        t_s = seq * step_s
        counted_j = joules_at(t_s) if joules_at else energy_j
        out.append(
            (start_us + round(t_s * 1e6), sample(seq, start_us + round(t_s * 1e6), [power_w(t_s), 0, 0, 0], [counted_j, 0, 0, 0]))
        )
        energy_j += power_w(t_s) * step_s
    return out


def on_the_wire(payloads: Sequence[bytes]) -> bytes:
    """The frames of some payloads, one after the other."""
    return b"".join(frame.encode(payload) for payload in payloads)


def _channel(index: int, p_w: float, energy_j: float) -> dict[str, int]:
    raw = round(p_w / P_W * 65536)
    zeros = {name: 0 for name, _kind, _meaning in messages.CHANNEL_FIELDS}
    return zeros | {
        "dt_us": 400 * index,
        "p": raw >> 16,
        "p_lsb": raw & 0xFF00,
        "u": 23000,
        "freq": 5000,
        "forward": int(energy_j / QUANTUM_J + 1e-9),
    }


def _pack(fields: Any, values: dict[str, Any]) -> bytes:
    codes = {"u8": "B", "u16": "H", "i16": "h", "u32": "I", "u64": "Q", "id4": "4s"}
    form = "<" + "".join(codes[kind] for _name, kind, _meaning in fields)
    return struct.pack(form, *(values[name] for name, _kind, _meaning in fields))
