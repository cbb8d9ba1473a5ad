"""The driver on scripted chips: what goes over the wire, start-up, and read-clear registers under every single fault."""

from bench import Bus, Clock

from epi_firmware import blocks, config
from epi_firmware import registers as reg
from epi_firmware.atm90e26 import LOST, MEASUREMENT_BAD, METERING_BAD, NOT_READ, OK, Atm90e26
from epi_firmware.spi_port import SpiPort

ANY = 0xFFFE


def bench():
    """Return (chip, driver) of a configured chip."""
    chip, driver = unconfigured()
    assert driver.configure() == ""
    return chip, driver


def unconfigured():
    clock = Clock()
    bus = Bus(clock)
    settings = config.defaults()["channels"][0]
    port = SpiPort(bus, bus.selects[0], clock.sleep_us)
    metering, measurement = blocks.metering_block(settings), blocks.measurement_block(settings)
    return bus.chips[0], Atm90e26(port, metering, measurement, blocks.sag_threshold(settings))


def at_access(*faults):
    """A script with `faults` (number of the access from now, kind, mask); numbers count from 0."""
    pending = list(faults)
    count = [-1]

    def script(_chip, _tx):
        count[0] += 1
        for number, kind, mask in pending:
            if number == count[0]:
                return kind, mask
        return None

    return script


def test_a_read_is_one_access_of_three_bytes():
    chip, driver = unconfigured()
    chip.words[reg.U_RMS] = 0x59D9
    before = chip.accesses
    assert driver.port.read(reg.U_RMS) == 0x59D9
    assert chip.accesses == before + 1 and chip.latest(1) == [0x80 | reg.U_RMS]


def test_a_write_is_one_access_of_three_bytes():
    chip, driver = unconfigured()
    driver.port.write(reg.FUNC_EN, 0x1234)
    assert chip.words[reg.FUNC_EN] == 0x1234 and chip.latest(1) == [reg.FUNC_EN]


def test_a_read_turned_into_a_write_changes_nothing():
    chip, driver = bench()
    before = bytes(chip.words)
    for read in (driver.heartbeat, lambda: driver.watch(0), lambda: driver.watch(1), driver.runs_our_settings):
        for number in range(6):
            chip.script = at_access((number, "mosi", 0x800000))
            read()
            chip.script = None
            words = bytearray(bytes(chip.words))
            words[2 * reg.LAST_DATA : 2 * reg.LAST_DATA + 2] = before[2 * reg.LAST_DATA : 2 * reg.LAST_DATA + 2]
            assert bytes(words) == before, (read, number)


def test_start_up_loads_both_blocks_and_starts_both_chains():
    chip, driver = bench()
    settings = config.defaults()["channels"][0]
    assert tuple(chip.words[reg.PL_CONST_H : reg.M_MODE + 1]) == blocks.metering_block(settings)
    assert tuple(chip.words[reg.U_GAIN : reg.Q_OFFSET_N + 1]) == blocks.measurement_block(settings)
    assert chip.words[reg.CAL_START] == chip.words[reg.ADJ_START] == reg.CODE_CHECK
    assert chip.stored == [driver.cs1, driver.cs2]
    assert driver.runs_our_settings()


def test_start_up_never_blesses_a_corrupted_write():
    settings = config.defaults()["channels"][0]
    writes = 2 + 13 + 12  # FuncEn, SagTh; start code, block and checksum of either chain
    for number in range(writes):
        for mask in (0x000001, 0x008000, 0x010000):
            chip, driver = unconfigured()
            chip.script = at_access((number, "mosi", mask))
            trouble = driver.configure()
            chip.script = None
            right = (
                tuple(chip.words[reg.PL_CONST_H : reg.M_MODE + 1]) == blocks.metering_block(settings)
                and tuple(chip.words[reg.U_GAIN : reg.Q_OFFSET_N + 1]) == blocks.measurement_block(settings)
                and chip.stored == [driver.cs1, driver.cs2]
                and chip.words[reg.FUNC_EN] == reg.FUNC_EN_RESET
                and chip.words[reg.SAG_TH] == blocks.sag_threshold(settings)
                and chip.words[reg.CAL_START] == chip.words[reg.ADJ_START] == reg.CODE_CHECK
            )
            assert trouble or right, (number, mask)


def test_start_up_says_which_checksum_is_wrong():
    chip, driver = unconfigured()
    chip.script = lambda chip, tx: ("mosi", 0x0001) if tx[0] == reg.L_GAIN else None
    trouble = driver.configure()
    assert trouble.startswith("CS1 reads ") and "should be %04XH" % driver.cs1 in trouble
    chip.script = lambda chip, tx: ("mosi", 0x0001) if tx[0] == reg.U_GAIN else None
    assert driver.configure().startswith("CS2 reads ")


def test_start_up_notices_a_checksum_that_the_chip_holds_wrong():
    chip, driver = unconfigured()
    chip.script = lambda chip, tx: ("mosi", 0x0001) if tx[0] == reg.CS1 else None
    assert "checksum error (SysStatus C000H)" in driver.configure()


def test_a_chip_with_other_settings_is_not_ours():
    chip, driver = bench()
    chip.words[reg.L_GAIN] = 1
    assert not driver.runs_our_settings()
    chip.words[reg.L_GAIN] = 0
    assert driver.runs_our_settings()
    chip.words[reg.ADJ_START] = reg.CODE_CONFIGURE
    assert not driver.runs_our_settings()


def test_an_empty_socket_does_not_answer():
    chip, driver = bench()
    assert driver.answers()
    chip.powered = False
    assert not driver.answers()


def test_energy_is_read_once_and_cleared():
    chip, driver = bench()
    chip.words[reg.AP_ENERGY] = 7
    assert driver.read_energy(reg.AP_ENERGY, ANY) == 7
    assert driver.read_energy(reg.AP_ENERGY, ANY) == 0
    assert chip.latest(3) == [0x80 | reg.CAL_START, 0x80 | reg.AP_ENERGY, 0x80 | reg.LAST_DATA]


def read_under(fault_script, ticks=5):
    """Return (result, what is left in the register, doubtful) of one reading under faults."""
    chip, driver = bench()
    chip.words[reg.AP_ENERGY] = ticks
    chip.script = fault_script
    result = driver.read_energy(reg.AP_ENERGY, 50)
    return result, chip.words[reg.AP_ENERGY], driver.doubtful


def exact(result, left, doubtful, ticks=5):
    """True when the books are exact or marked: what was returned and what is left make up the truth, or doubt is raised."""
    returned = result if result > 0 else 0
    return result == LOST or doubtful or returned + left == ticks


def test_a_partial_energy_read_is_repeated():
    for clocks in range(24):
        assert read_under(at_access((1, "partial", clocks))) == (5, 0, False), clocks


def test_a_partial_sentinel_is_repeated():
    for clocks in range(24):
        assert read_under(at_access((0, "partial", clocks))) == (5, 0, False), clocks


def test_a_partial_last_data_is_read_again():
    for clocks in range(24):
        assert read_under(at_access((2, "partial", clocks))) == (5, 0, False), clocks


def test_energy_that_never_gets_through_stays_in_the_chip():
    assert read_under(lambda chip, tx: ("partial", 20) if tx[0] == 0x80 | reg.AP_ENERGY else None) == (NOT_READ, 5, False)
    assert read_under(lambda chip, tx: ("partial", 20) if tx[0] == 0x80 | reg.CAL_START else None) == (NOT_READ, 5, False)


def test_a_misread_register_is_put_right_by_last_data_and_marked():
    for bit in range(16):
        assert read_under(at_access((1, "miso", 1 << bit))) == (5, 0, True), bit


def test_a_misread_last_data_is_put_right_by_the_second():
    for bit in range(16):
        assert read_under(at_access((2, "miso", 1 << bit))) == (5, 0, False), bit


def test_three_different_answers_are_nobodys():
    assert read_under(at_access((1, "miso", 1), (2, "miso", 2), (3, "miso", 4)))[0] == LOST


def test_all_ones_are_never_energy():
    dead = read_under(at_access((1, "dead", 0), (2, "dead", 0), (3, "dead", 0)))
    assert dead[0] == LOST
    assert read_under(at_access((1, "dead", 0))) == (5, 0, False)
    assert read_under(lambda chip, tx: ("dead", 0)) == (NOT_READ, 5, False)


def test_more_than_can_have_come_is_not_energy():
    chip, driver = bench()
    chip.words[reg.AT_ENERGY], chip.words[reg.AP_ENERGY] = 900, 5
    chip.script = at_access((1, "mosi", 0x020000))  # 40H has become 42H
    assert driver.read_energy(reg.AP_ENERGY, 50) == LOST
    chip.script = None
    assert driver.read_energy(reg.AP_ENERGY, 50) == 5


def test_any_single_flip_leaves_the_books_exact_or_marked():
    for number in range(3):
        for clock in range(24):
            for kind in ("mosi", "miso"):
                outcome = read_under(at_access((number, kind, 1 << clock)))
                assert exact(*outcome), (number, clock, kind, outcome)


def test_any_two_partial_accesses_leave_the_books_exact_or_marked():
    for first in range(3):
        for second in range(first + 1, 7):
            for clocks in (8, 12, 20, 22, 23):
                outcome = read_under(at_access((first, "partial", clocks), (second, "partial", clocks)))
                assert exact(*outcome), (first, second, clocks, outcome)


def test_after_a_reset_no_energy_is_read():
    chip, driver = bench()
    chip.reset()
    assert driver.read_energy(reg.AP_ENERGY, ANY) == NOT_READ
    assert driver.heartbeat() == reg.CODE_POWER_ON


def test_the_watch_finds_either_block_changed():
    for address, verdict in ((reg.L_GAIN, METERING_BAD), (reg.U_GAIN, MEASUREMENT_BAD)):
        chip, driver = bench()
        assert [driver.watch(turn) for turn in range(3)] == [OK, OK, OK]
        chip.words[address] ^= 0x0100
        assert verdict in [driver.watch(turn) for turn in range(3)]


def test_the_watch_finds_what_the_chip_reports():
    for status, verdict in (
        (reg.CAL_ERR, METERING_BAD),
        (reg.ADJ_ERR, MEASUREMENT_BAD),
        (0x0022, OK),
        (0xFFFF, OK),
        (0x4000, OK),
    ):
        chip, driver = bench()
        chip.words[reg.SYS_STATUS] = status
        assert driver.watch(2) == verdict, hex(status)


def test_one_flip_does_not_alarm_the_watch():
    for turn in range(3):
        for bit in range(16):
            chip, driver = bench()
            chip.script = at_access((0, "miso", 1 << bit))
            assert driver.watch(turn) == OK, (turn, bit)


def test_the_measurement_block_alone_can_be_loaded_again():
    chip, driver = bench()
    chip.words[reg.AP_ENERGY], chip.words[reg.I_GAIN_L] = 5, 1
    assert driver.reload_measurement() == ""
    assert driver.runs_our_settings() and chip.words[reg.AP_ENERGY] == 5
