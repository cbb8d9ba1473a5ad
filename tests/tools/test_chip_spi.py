"""The 24-clock rule, LastData, read-clear, timeouts and line faults (datasheet 4.1, tables 8 and 9)."""

import pytest
from chip_bench import Bench
from hypothesis import given
from hypothesis import strategies as st

from epi_tools.chip import registers as reg
from epi_tools.chip.spi_port import read_frame, write_frame
from epi_tools.plant import Constant

READ_CLEAR = sorted(reg.READ_CLEAR)


@pytest.fixture
def bench():
    bench = Bench(Constant(100))
    bench.start()
    bench.sleep_ms(10_000)
    return bench


def word(frame):
    return int.from_bytes(frame, "big")


def ticks_held(bench, address):
    return bench.chip.load(address)


@given(clocks=st.integers(0, 23), address=st.sampled_from(READ_CLEAR))
def test_partial_reads_never_clear(clocks, address):
    bench = Bench(Constant(100))
    bench.start()
    bench.sleep_ms(10_000)
    before = ticks_held(bench, address)
    last = bench.read(reg.LAST_DATA)
    bench.clock_bits(word(read_frame(address)) >> (24 - clocks), clocks)
    assert ticks_held(bench, address) == before
    assert bench.read(reg.LAST_DATA) == last


@given(clocks=st.integers(0, 40).filter(lambda n: n != 24), data=st.integers(0, 0xFFFF))
def test_only_24_clocks_write(clocks, data):
    bench = Bench(Constant(0))
    last = bench.read(reg.LAST_DATA)
    shifted = word(write_frame(reg.SAG_TH, data))
    bench.clock_bits(shifted << (clocks - 24) if clocks > 24 else shifted >> (24 - clocks), clocks)
    assert bench.read(reg.LAST_DATA) == last
    assert bench.read(reg.SAG_TH) == 0x1D6A


def test_a_longer_read_gives_the_first_24_clocks_and_counts(bench):
    held = ticks_held(bench, reg.AP_ENERGY)
    answer = bench.clock_bits(word(read_frame(reg.AP_ENERGY)) << 8, 32)
    assert answer >> 8 & 0xFFFF == held > 0
    assert bench.read(reg.LAST_DATA) == held
    assert bench.read(reg.AP_ENERGY) == 0


@given(address=st.integers(0, 127), pieces=st.lists(st.integers(1, 12), min_size=1, max_size=24))
def test_bits_and_bytes_are_the_same_access(address, pieces):
    """However the 24 clocks are cut into transfers, the answer is that of one transfer."""
    whole, cut = Bench(Constant(100)), Bench(Constant(100))
    for bench in (whole, cut):
        bench.start()
        bench.sleep_ms(1000)
    expected = whole.exchange(read_frame(address))
    cut.port.select()
    left, answer, frame = 24, 0, word(read_frame(address))
    for count in [*pieces, 24]:
        count = min(count, left)
        left -= count
        answer = answer << count | cut.port.clock_bits(frame >> left & ((1 << count) - 1), count)
    cut.port.deselect()
    assert answer.to_bytes(3, "big") == expected
    assert cut.read(reg.LAST_DATA) == whole.read(reg.LAST_DATA)


def test_six_milliseconds_without_a_clock_end_the_access(bench):
    for pause_ms, survives in ((7, False), (5, True)):
        held = ticks_held(bench, reg.AP_ENERGY)
        bench.port.select()
        bench.port.clock_bits(0x80 | reg.AP_ENERGY, 8)
        bench.sleep_ms(pause_ms)
        assert bench.port.clock_bits(0, 16) == (held if survives else 0xFFFF)
        bench.port.deselect()


def test_energy_that_comes_during_a_read_is_not_lost(bench):
    """Ticks between loading the answer and clearing belong to the next read."""
    bench.port.select()
    bench.port.clock_bits(0x80 | reg.AP_ENERGY, 8)
    bench.sleep_ms(5)
    first = bench.port.clock_bits(0, 16)
    bench.sleep_ms(995)
    bench.port.deselect()
    assert first + bench.read(reg.AP_ENERGY) == pytest.approx(11_000 / 3.6, abs=2)


def test_invalid_addresses_read_zero_and_drop_writes(bench):
    for address in (0x05, 0x07, 0x16, 0x2D, 0x3C, 0x47, 0x50, 0x69, 0x6C, 0x7F):
        last = bench.read(reg.CAL_START)
        bench.write(address, 0xABCD)
        assert bench.read(reg.LAST_DATA) == last
        assert bench.read(address) == 0


def test_last_data_follows_reads_and_accepted_writes(bench):
    bench.write(reg.FUNC_EN, 0x0030)
    assert bench.read(reg.LAST_DATA) == 0x0030
    held = bench.read(reg.AP_ENERGY)
    assert bench.read(reg.LAST_DATA) == held > 0
    assert bench.read(reg.LAST_DATA) == held  # reading it is a read like any other


def test_reading_latches_its_own_low_bits(bench):
    bench.read(reg.P_MEAN)
    p_low = bench.read(reg.LSB)
    bench.read(reg.U_RMS)
    bench.read(reg.FREQ)  # neither an rms nor a mean power: latches nothing
    u_low = bench.read(reg.LSB)
    assert (p_low & 0xFF, u_low & 0xFF) == (0, 0)
    bench.read(reg.P_MEAN)
    assert bench.read(reg.LSB) == p_low


def test_a_cut_energy_read_leaves_last_data_and_the_ticks(bench):
    """The hole that a driver needs a sentinel for: LastData still shows the access before."""
    held = ticks_held(bench, reg.AP_ENERGY)
    faults = bench.board.faults(0)
    assert bench.read(reg.CAL_START) == reg.CHECKED
    faults.cut_once(reg.AP_ENERGY, 20)
    assert bench.read(reg.AP_ENERGY) != held
    assert bench.read(reg.LAST_DATA) == reg.CHECKED
    assert bench.read(reg.AP_ENERGY) == held
    assert faults.happened == 1


def test_flips_on_miso_reach_only_the_host(bench):
    held = ticks_held(bench, reg.AP_ENERGY)
    bench.board.faults(0).flip_miso_once(8, 23)
    assert bench.read(reg.AP_ENERGY) == held ^ 0x8001
    assert bench.read(reg.LAST_DATA) == held
    assert bench.read(reg.AP_ENERGY) == 0


def test_flips_on_mosi_reach_the_chip(bench):
    faults = bench.board.faults(0)
    faults.flip_mosi_once(23)
    bench.write(reg.SAG_TH, 0x1000)
    assert bench.read(reg.SAG_TH) == 0x1001
    faults.flip_mosi_once(0)  # the read bit: the read becomes a write of zero
    bench.read(reg.SAG_TH)
    assert bench.read(reg.SAG_TH) == 0


def test_random_flips_come_at_their_rate(bench):
    faults = bench.board.faults(0, flip_rate=0.01, seed=3)
    for _ in range(1000):
        bench.read(reg.LAST_DATA)
    assert 300 < faults.happened < 700  # 48 000 bits would give 480


def test_a_chip_without_power_is_all_ones(bench):
    bench.chip.power_off()
    assert bench.read(reg.CAL_START) == 0xFFFF
    bench.chip.power_on()
    assert bench.read(reg.CAL_START) == 0  # five milliseconds of delay
    bench.sleep_ms(6)
    assert bench.read(reg.CAL_START) == reg.POWER_ON
