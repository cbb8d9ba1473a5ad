"""Hidden errors and changing loads of the simulator."""

import pytest

from epi_tools.chip import PI_SENSORS, Circuit, Load
from epi_tools.plant import Constant
from epi_tools.sim.virtual import VirtualBoard
from epi_tools.sim.workbench import Workbench, WorkbenchError, hidden_sensors, parse_bench


def test_hidden_errors_sit_in_their_channel():
    sensors = hidden_sensors(["1=1.05"], ["0=0.8", "1=-2"])
    assert [round(one.current_error, 9) for one in sensors] == [0, 0.05, 0, 0]
    assert [one.current_phase_deg for one in sensors] == [0.8, -2, 0, 0]


def test_loads_change_with_the_file(tmp_path, capsys):
    path, circuits = tmp_path / "bench.json", [Circuit(PI_SENSORS, Load(-15.0, 0.6))] * 4
    board = VirtualBoard([Constant(10.0)] * 4, circuits)
    bench = Workbench(path, board.chips, circuits)

    def angles():
        bench.look()
        return [round(chip._inputs.line.angle_deg, 6) for chip in board.chips]

    assert angles() == [-15.0] * 4
    path.write_text('{"0": 60, "2": "open"}')
    assert angles() == [60.0, -15.0, -15.0, -15.0]
    assert board.chips[2]._inputs.line.p_raw_per_w < 1e-6 * board.chips[1]._inputs.line.p_raw_per_w
    path.write_text('{"0": ')
    assert angles() == [60.0, -15.0, -15.0, -15.0]
    assert angles() and capsys.readouterr().err == "epi sim: The bench file is not a JSON object of channels.\n"
    path.unlink()
    assert angles() == [-15.0] * 4


@pytest.mark.parametrize("text", ["[]", '{"9": 0}', '{"0": 90}', '{"0": "shut"}', '{"0": true}', '{"x": 0}', '{"0": NaN}'])
def test_what_cannot_stand_on_a_bench(text):
    with pytest.raises(WorkbenchError, match="The bench file"):
        parse_bench(text)
