"""The measurement chain: window means in, register contents out (datasheet 5.5)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from epi_tools.chip import registers as reg
from epi_tools.chip.analog import SMALL_POWER_SCALE, Inputs, LineInput
from epi_tools.chip.circuit import ChipTiming, Circuit, Imperfections, PowerSource
from epi_tools.chip.formats import extend, extend_unsigned, from_complement, to_signed

# Register contents: address -> (main register, LSB register or None where reading latches nothing).
Contents = dict[int, tuple[int, int | None]]

_LATCHES_NOTHING = (reg.FREQ, reg.POWER_F, reg.P_ANGLE, reg.POWER_F_N, reg.P_ANGLE_N)
OFF: Contents = {address: (0, None if address in _LATCHES_NOTHING else 0) for address in reg.MEASUREMENT}


@dataclass(frozen=True)
class Window:
    """Means over the averaging window: of the voltage (mV rms at the pin), the watts and their squares, and the frequency."""

    voltage_mv: float
    mean_w: float
    mean_square_w2: float
    line_hz: float


@dataclass(frozen=True)
class LineAddresses:
    """Where one line's registers lie: results and calibration."""

    i_rms: int
    p_mean: int
    q_mean: int
    power_f: int
    p_angle: int
    s_mean: int
    i_gain: int
    i_offset: int
    p_offset: int
    q_offset: int


LINE = LineAddresses(
    reg.I_RMS, reg.P_MEAN, reg.Q_MEAN, reg.POWER_F, reg.P_ANGLE, reg.S_MEAN,
    reg.I_GAIN_L, reg.I_OFFSET_L, reg.P_OFFSET_L, reg.Q_OFFSET_L,
)  # fmt: skip
NEUTRAL = LineAddresses(
    reg.I_RMS_N, reg.P_MEAN_N, reg.Q_MEAN_N, reg.POWER_F_N, reg.P_ANGLE_N, reg.S_MEAN_N,
    reg.I_GAIN_N, reg.I_OFFSET_N, reg.P_OFFSET_N, reg.Q_OFFSET_N,
)  # fmt: skip


class MeasurementChain:
    """Register contents of one chip, renewed every refresh period while the chain runs."""

    def __init__(self, timing: ChipTiming, phase_ns: int, rng: Random) -> None:
        self._timing, self._phase_ns, self._rng = timing, phase_ns, rng
        self._started_ns = 0
        self.due_ns = 0
        self.contents = OFF

    def start(self, now_ns: int) -> None:
        """Begin to average; the window fills from silence."""
        self._started_ns = self.due_ns = now_ns

    def stop(self) -> None:
        self.contents = OFF

    def refresh(self, values: Sequence[int], source: PowerSource, circuit: Circuit, inputs: Inputs, now_ns: int) -> None:
        """Renew the contents with the window of the latest refresh instant; the next one is at `due_ns`."""
        period_ns, speed = self._timing.refresh_ns, circuit.clock_speed
        index = int((now_ns + self._phase_ns) * speed // period_ns)
        refreshed_ns = int(index * period_ns / speed) - self._phase_ns
        self.due_ns = refreshed_ns + int(period_ns / speed)
        if refreshed_ns > self._started_ns:
            window = self._window(source, circuit, inputs.line.ceiling_w, refreshed_ns)
            self.contents = measure(values, window, inputs, circuit.flaws, self._rng)

    def _window(self, source: PowerSource, circuit: Circuit, ceiling_w: float, end_ns: int) -> Window:
        """Means up to `end_ns`. Time before the start counts as silence; what a live source has not seen is left out."""
        begin_ns = start_ns = max(end_ns - self._timing.window_ns, self._started_ns)
        energy_j = square_w2s = 0.0
        for piece_end_ns, watts in source.pieces(start_ns, end_ns):
            clipped_w = min(watts, ceiling_w)
            seconds = (piece_end_ns - start_ns) * 1e-9
            energy_j += clipped_w * seconds
            square_w2s += clipped_w * clipped_w * seconds
            start_ns = piece_end_ns
        window_s = (self._timing.window_ns - (end_ns - start_ns)) * 1e-9
        if start_ns == begin_ns:
            return Window(0.0, 0.0, 0.0, 0.0)
        filled = (start_ns - begin_ns) * 1e-9 / window_s
        return Window(
            voltage_mv=circuit.voltage_mv * math.sqrt(filled),
            mean_w=energy_j / window_s,
            mean_square_w2=square_w2s / window_s,
            line_hz=circuit.mains.hz / circuit.clock_speed,
        )


def measure(values: Sequence[int], window: Window, inputs: Inputs, flaws: Imperfections, rng: Random) -> Contents:
    """Fill the measurement registers from one averaging window."""
    u_gain = values[reg.U_GAIN]
    u_rms = window.voltage_mv * u_gain / 300 + _offset(values[reg.U_OFFSET], u_gain)
    if flaws.noise_v:
        u_rms += rng.gauss(0, flaws.noise_v * 100)
    contents = OFF | {
        reg.U_RMS: extend_unsigned(u_rms),
        reg.FREQ: (max(0, min(0xFFFF, round(window.line_hz * 100))), None),
    }
    _measure_line(contents, values, LINE, window, inputs.line, u_rms, flaws, rng)
    if inputs.neutral.scaled_mv_per_w:  # an input with nothing connected reads 0
        _measure_line(contents, values, NEUTRAL, window, inputs.neutral, u_rms, flaws, rng)
    return contents


def _measure_line(
    contents: Contents,
    values: Sequence[int],
    at: LineAddresses,
    window: Window,
    line: LineInput,
    u_rms: float,
    flaws: Imperfections,
    rng: Random,
) -> None:
    i_gain = values[at.i_gain]
    raw_w = values[reg.U_GAIN] * i_gain / SMALL_POWER_SCALE
    i_rms = line.scaled_mv_per_w * math.sqrt(window.mean_square_w2) * i_gain / 150 + _offset(values[at.i_offset], i_gain)
    p_raw = line.p_raw_per_w * window.mean_w + from_complement(values[at.p_offset])
    q_raw = line.q_raw_per_w * window.mean_w + from_complement(values[at.q_offset])
    if flaws.noise_w and raw_w:
        p_raw += rng.gauss(0, flaws.noise_w / raw_w)
        q_raw += rng.gauss(0, flaws.noise_w / raw_w)
    if flaws.noise_a:
        i_rms += rng.gauss(0, flaws.noise_a * 1000)
    scale = 1.0 if values[reg.SMALL_P_MOD] == reg.SMALL_POWER_KEY else raw_w
    apparent_va = max(0.0, u_rms) * max(0.0, i_rms) / 1e5
    factor = p_raw * raw_w / apparent_va if apparent_va > 0 else 0.0
    contents[at.i_rms] = extend_unsigned(i_rms)
    contents[at.p_mean] = extend(p_raw * scale)
    contents[at.q_mean] = extend(q_raw * scale)
    contents[at.power_f] = to_signed(round(max(-1.0, min(1.0, factor)) * 1000)), None
    contents[at.p_angle] = to_signed(round(line.angle_deg * 10) if window.mean_w else 0), None
    contents[at.s_mean] = extend_unsigned(apparent_va, ceiling=0x7FFF)


def _offset(register: int, gain: int) -> float:
    """Effect of Uoffset or Ioffset in units of the result: the inverse of the application note's recipe (3.2.6),
    offset = -reading * gain / 2^16 * 2^8."""
    return from_complement(register) * 256 / gain if gain else 0.0
