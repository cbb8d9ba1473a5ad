"""The books: sums over sweeps, doubt counted, plausibility, wrap and silence."""

from bench import Bus, Clock

from epi_firmware import blocks, config
from epi_firmware import registers as reg
from epi_firmware.atm90e26 import Atm90e26
from epi_firmware.energy import EnergyBooks
from epi_firmware.spi_port import SpiPort
from epi_protocol import messages as m

LATE, UNKNOWN, REVERSED = m.flag("ENERGY_LATE"), m.flag("ENERGY_UNKNOWN"), m.flag("REVERSED")
SWEEP_US = 50_000


class Books:
    """Energy books on one scripted chip that is configured and has been read once."""

    def __init__(self, start_us=0, taken_over=False):
        self.clock = Clock(start_us)
        bus = Bus(self.clock)
        self.chip = bus.chips[0]
        settings = config.defaults()["channels"][0]
        port = SpiPort(bus, bus.selects[0], self.clock.sleep_us)
        driver = Atm90e26(port, blocks.metering_block(settings), blocks.measurement_block(settings), 1)
        driver.configure()
        self.block = bytearray(m.size_of(m.CHANNEL_FIELDS))
        load_max, per_p = blocks.ticks_per_s(settings, 30), blocks.ticks_per_s_x256(settings)
        self.books = EnergyBooks(driver, self.block, self.clock, 20, load_max, per_p)
        if not taken_over:
            self.books.restart()

    def sweep(self, forward=0, reverse=0, wait_us=SWEEP_US):
        """Let energy come in and read it; return the flags."""
        self.chip.count(forward, reverse)
        self.clock.sleep_us(wait_us)
        return self.books.read()

    def set_p(self, p):
        at = m.offset_of(m.CHANNEL_FIELDS, "p")
        self.block[at], self.block[at + 1] = p & 0xFF, p >> 8 & 0xFF

    def totals(self):
        values = m._unpack(m.CHANNEL_FIELDS, bytes(self.block), "block")
        return values["forward"], values["reverse"], values["unknown"]


def test_forward_energy_adds_up():
    books = Books()
    for ticks in (0, 1, 2, 0, 4):
        assert books.sweep(ticks) == 0
    assert books.totals() == (7, 0, 0)


def test_reverse_energy_is_kept_apart_and_flagged():
    books = Books()
    books.set_p(-72)
    assert books.sweep(0, 3) == REVERSED
    assert books.totals() == (0, 3, 0)


def test_energy_from_the_side_that_p_denies_is_marked():
    books = Books()
    books.set_p(72)
    assert books.sweep(0, 1) & UNKNOWN
    books = Books()
    books.set_p(-72)
    assert books.sweep(1, 0) & UNKNOWN


def test_more_than_the_largest_load_brings_is_marked_and_not_added():
    books = Books()
    assert books.sweep(200) == UNKNOWN
    assert books.totals() == (0, 0, 1)
    assert books.sweep(1) == 0
    assert books.totals() == (1, 0, 1)


def test_a_large_power_allows_for_large_energy():
    books = Books()
    books.set_p(16 * 1000)  # 1 kW: 139 ticks in 50 ms
    assert books.sweep(139) == 0
    assert books.totals() == (139, 0, 0)


def test_energy_of_which_the_absolute_register_knows_nothing_is_marked():
    books = Books()
    books.chip.words[reg.AP_ENERGY] += 2
    assert books.sweep() == UNKNOWN
    assert books.totals() == (2, 0, 1)
    assert books.sweep(3) == 0
    assert books.totals() == (5, 0, 1)


def test_a_tick_between_the_register_and_its_witness_is_no_doubt():
    books = Books()
    for ticks in (1, 2, 5):
        books.chip.words[reg.AT_ENERGY] += 1
        assert books.sweep(ticks) == 0
        books.chip.words[reg.AP_ENERGY] += 1
        assert books.sweep(0) == 0
    assert books.totals() == (11, 0, 0)


def test_a_witness_that_counts_more_raises_no_alarm():
    books = Books()
    for ticks in (1, 0, 3, 0, 0, 2):
        books.chip.words[reg.AT_ENERGY] += 2
        assert books.sweep(ticks) == 0
    assert books.totals() == (6, 0, 0)


def test_what_was_not_read_comes_later_and_nothing_is_lost():
    books = Books()
    books.chip.powered = False
    for _ in range(200):
        assert books.sweep(0) == LATE
    books.chip.powered = True
    assert books.sweep(280) == 0
    assert books.totals() == (280, 0, 0)


def test_after_the_time_of_a_wrap_the_sum_is_in_doubt():
    books = Books()
    books.chip.powered = False
    for _ in range(65536 // 84 * 20 + 1):
        books.books.skip()
    books.chip.powered = True
    assert books.sweep(100) == UNKNOWN
    assert books.totals() == (100, 0, 1)
    assert books.sweep(1) == 0


def test_a_chip_taken_over_brings_what_it_has():
    books = Books(taken_over=True)
    assert books.sweep(30_000) == 0
    assert books.totals() == (30_000, 0, 0)
    assert books.sweep(30_000) == UNKNOWN


def test_the_wrap_of_the_ticks_does_not_matter():
    books = Books(start_us=(1 << 30) - 120_000)
    for _ in range(10):
        assert books.sweep(1) == 0
    assert books.totals() == (10, 0, 0)


def test_sums_outgrow_32_bits():
    books = Books(taken_over=True)
    at = m.offset_of(m.CHANNEL_FIELDS, "forward")
    for i in range(4):
        books.block[at + i] = 0xFF
    assert books.sweep(2) == 0
    assert books.totals()[0] == (1 << 32) + 1


def test_doubt_is_counted_modulo_65536():
    books = Books()
    for _ in range(65537):
        books.books.doubt()
    assert books.totals()[2] == 1
