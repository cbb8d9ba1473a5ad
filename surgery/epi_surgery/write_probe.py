"""Write a probe model under a temporary name, run it once, and only then give it its final one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from epi_surgery.architecture import architecture_of
from epi_surgery.engine import run_models
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gguf_write import written_bytes
from epi_surgery.metadata import string
from epi_surgery.output import check_space, final_name
from epi_surgery.plan import model_id
from epi_surgery.probe import Probe, layer_order, probe_entries, probe_recipes
from epi_surgery.progress import Bar
from epi_surgery.write_model import write_hashed

_N_PROMPT, _N_DECODE = 20, 8


@dataclass(frozen=True)
class ProbeResult:
    """The written file; `layer_bytes` is what one copy of the layer adds to what a token reads."""

    path: Path
    sha256: str
    n_bytes: int
    n_layer: int
    layer_bytes: int


def write_probe(model: GgufFile, probe: Probe, out: Path, with_check: bool, cache: Path | None, bar: Bar) -> ProbeResult:
    """Write `model` with one layer repeated; raises SurgeryError with nothing left behind where the engine refuses it."""
    arch = architecture_of(model)
    order = layer_order(arch.n_layer, probe)
    with bar("hashing the model", model.n_bytes) as advance:
        parent = model_id(model, cache, advance)
    recipes = probe_recipes(model, order)
    origin = [string("epi.probe", json.dumps(asdict(probe))), string("epi.parent_sha256", parent.sha256)]
    entries = probe_entries(model, arch, order) + origin
    n_bytes = written_bytes(entries, recipes, model.alignment)
    check_space(out.parent, n_bytes)
    with final_name(out) as part:
        sha256 = write_hashed(part, entries, recipes, model.alignment, bar)
        if with_check:
            run_models({"the probe model": part}, _N_PROMPT, _N_DECODE)
    prefix = f"blk.{probe.layer}."
    layer_bytes = sum(tensor.n_bytes for tensor in model.tensors.values() if tensor.name.startswith(prefix))
    return ProbeResult(out, sha256, n_bytes, len(order), layer_bytes)
