"""truth.json: whole at every moment, and a disk that is full for a while."""

import json
import shutil

from epi_tools.chip import Circuit
from epi_tools.plant import Constant, Ledger
from epi_tools.plant.cpu_load import NodePower
from epi_tools.sim.truth import Setting, TruthFile


def test_trouble_is_said_once_and_over_when_it_is_over(tmp_path, capsys):
    folder = tmp_path / "out"
    ledger = Ledger([Constant(2.0)], 0)
    truth = TruthFile(folder / "truth.json", Setting(3, NodePower(), ("const:2",), (Circuit(),)), ledger)
    truth.keep({})
    truth.keep({})
    assert capsys.readouterr().err.count("could not be written") == 1
    assert truth.trouble.endswith("No such file or directory.")
    folder.mkdir()
    ledger.close_books(5_000_000_000)
    truth.keep({"spi": {"transactions": 7}})
    assert truth.trouble == ""
    assert [path.name for path in folder.iterdir()] == ["truth.json"]
    content = json.loads((folder / "truth.json").read_text())
    assert content["seed"] == 3 and content["spi"] == {"transactions": 7}
    assert content["channels"][0]["energy_j"] == 10.0 and content["until_host_ns"] == 5_000_000_000
    assert content["series"] == {"host_ns": [0, 5_000_000_000], "energy_j": [[0.0, 10.0]]}
    shutil.rmtree(folder)
    truth.keep({})
    assert "could not be written" in capsys.readouterr().err
