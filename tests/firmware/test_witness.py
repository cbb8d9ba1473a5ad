"""The absolute energy register as second witness: energy that came out of a wrong register is marked, at any time."""

from dataclasses import replace

import pytest
from faulty import Audit, flip_at, one_sweep, running
from model import IDEAL, J_PER_TICK, Model, flags_of

from epi_tools.chip import PI_SENSORS
from epi_tools.chip import registers as reg
from epi_tools.plant import Constant

ADDRESS_CLOCKS = range(1, 8)
ENERGY_READ, WITNESS_READ = 3, 5  # accesses of a sweep: P, LSB, CalStart, 40H, LastData, 42H


@pytest.mark.parametrize("after_s", [0.2, 0.3, 0.5, 0.8, 1.5, 3.0])
@pytest.mark.parametrize("access", [ENERGY_READ, WITNESS_READ])
def test_a_flipped_address_soon_after_a_reset_is_exact_or_marked(after_s, access):
    """40H becomes 42H or 44H while these hold no more than 40H would; before there was a witness, up to 12 ticks came twice."""
    for clock in ADDRESS_CLOCKS:
        model = running()
        model.chips[2].brown_out()
        model.run(after_s)
        audit = Audit(model, 2)
        faults = model.board.faults(2)
        flip_at(model.board.ports[2], faults, "flip_mosi_once", access, clock)
        for _ in range(3):
            one_sweep(model)
            audit.check()
        assert faults.happened == 1 and audit.unmarked == 0, clock


def test_the_witness_does_not_raise_false_alarms():
    model = Model(channels=[{}] * 3 + [{"mc_imp_per_kwh": 10_000_000}])
    model.run(40)
    for channel in range(4):
        block = model.block(channel)
        assert block["unknown"] == 0 and block["forward"] == model.cleared[channel][reg.AP_ENERGY] > 350


def test_a_partial_read_of_the_witness_loses_nothing():
    model = running()
    faults = model.board.faults(2)
    for clocks in range(8, 24):
        faults.cut_once(reg.AT_ENERGY, clocks)
        model.run(0.2)
    block = model.block(2)
    assert faults.happened == 16 and block["unknown"] == 0
    assert block["forward"] == model.cleared[2][reg.AP_ENERGY]


def test_a_witness_that_counts_more_is_believed():
    """The datasheet lets absolute energy exceed the sum of both directions."""
    model = running()
    for _ in range(200):
        model.chips[0]._active.absolute += 3
        one_sweep(model)
    block = model.block(0)
    assert block["unknown"] == 0 and block["forward"] == model.cleared[0][reg.AP_ENERGY]


def test_a_board_reset_between_register_and_witness_marks_nothing():
    """The old boot has booked what the new one's witness tells of."""
    model = running()
    port = model.board.ports[2]
    accesses, select = [0], port.select

    def counting():
        accesses[0] += 1
        if accesses[0] > WITNESS_READ:
            raise KeyboardInterrupt
        select()

    port.select = counting
    with pytest.raises(KeyboardInterrupt):
        model.run(5)
    del port.select
    model.board.bus.release()
    before = model.cleared[2][reg.AP_ENERGY]
    model.boot(b"NEXT")
    model.run(5)
    block = model.block(2)
    assert block["unknown"] == 0
    assert block["forward"] == model.cleared[2][reg.AP_ENERGY] - before > 4 * 11.0 / J_PER_TICK


def test_reverse_energy_has_the_same_witness():
    model = running()
    for chip in model.chips:
        chip.change(sensors=replace(PI_SENSORS, reversed_ct=True))
    before = model.block(1)["reverse"]
    model.run(20)
    block = model.block(1)
    assert block["reverse"] - before == pytest.approx(5.0 * 20 / J_PER_TICK, rel=0.02)
    assert block["reverse"] == model.cleared[1][reg.AN_ENERGY] and block["unknown"] == 0
    assert flags_of(block) == {"REVERSED"}


@pytest.mark.parametrize("reverse", [False, True])
def test_a_slow_bus_raises_no_false_alarm(reverse):
    """Ticks come between any two accesses: 25 W on a simulator that gets little of its machine, 3 ms for each."""
    circuit = replace(IDEAL, sensors=replace(PI_SENSORS, reversed_ct=reverse))
    model = Model([Constant(25.0)] * 4, circuit, sample_hz=2, channels=[{}] * 3 + [{"mc_imp_per_kwh": 10_000_000}])
    clock = model.board.clock
    for port in model.board.ports:
        port.select = lambda select=port.select: (clock.sleep_us(3000), select())
    model.run(40)
    for channel in range(4):
        block = model.block(channel)
        assert block["unknown"] == 0 and block["reverse" if reverse else "forward"] > 1500
        assert block["reverse"] == model.cleared[channel][reg.AN_ENERGY]


def test_the_witness_costs_the_bus_little():
    model = Model([Constant(11.0)] * 4)
    model.run(3)
    before = sum(port.accesses for port in model.board.ports)
    model.run(10)
    accesses = (sum(port.accesses for port in model.board.ports) - before) / 200
    assert accesses < 87
