"""What shapes an engine runs, and what a cached key or value costs it: the difference between a cut and a saving.

llama.cpp          per layer any n_head that n_head_kv divides (architecture deci); layer 0 keeps attention; rows of
                   attn_output in K-quants only where n_head x head_dim is a multiple of 256; cache in F16
distributed-llama  one count for all layers; n_head and n_head_kv divisible by the nodes; blocks of 32 per node; cache in F32
torch              any counts, groups of different size too; cache in the model's own type, taken as 2 bytes
"""

from dataclasses import dataclass

from epi_surgery.aim import Aim
from epi_surgery.errors import BadPlan

ENGINES = ("llama.cpp", "distributed-llama", "torch")
K_QUANT_BLOCK = 256
_Q40_BLOCK = 32


@dataclass(frozen=True)
class Rules:
    """An engine and how it is to be used: on `nodes` machines, with K-quants or not, for heads `head_dim` wide."""

    engine: str = "llama.cpp"
    head_dim: int = 64
    nodes: int = 1
    k_quants: bool = False

    @property
    def cache_bytes(self) -> int:
        """Bytes of one cached key or value element."""
        return 4 if self.engine == "distributed-llama" else 2

    @property
    def pads(self) -> bool:
        """Whether groups of different size have to be filled with zero heads."""
        return self.engine != "torch"

    def runs(self, n_query: int, n_kv: int) -> bool:
        """Whether a layer of this shape runs, and as fast as its size lets one hope."""
        if n_query == 0:
            return self.engine != "distributed-llama"
        if self.engine == "torch":
            return True
        if n_query % n_kv:
            return False
        if self.engine == "distributed-llama":
            return n_kv % self.nodes == 0 and n_query * self.head_dim // self.nodes % _Q40_BLOCK == 0
        return not self.k_quants or n_query * self.head_dim % K_QUANT_BLOCK == 0


def check_rules(aim: Aim, rules: Rules) -> None:
    """Raise BadPlan where the engine cannot run what is aimed at any faster, or at all."""
    if rules.nodes != 1 and rules.engine != "distributed-llama":
        raise BadPlan(f"--nodes concerns distributed-llama only, not {rules.engine}")
    if rules.engine != "distributed-llama":
        return
    if aim.spread != "uniform":
        raise BadPlan("distributed-llama knows one head count for all layers; add --uniform")
