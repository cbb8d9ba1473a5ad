"""Models in PyTorch: loading from a folder or a GGUF, the attention of each layer, gates and masks on its heads.

Everything here imports torch; the command line imports it only inside the commands that need it.
"""

from epi_surgery.model.attention import AttentionLayer, attention_layers
from epi_surgery.model.gates import gated, masked
from epi_surgery.model.load import Loaded, load

__all__ = ["AttentionLayer", "Loaded", "attention_layers", "gated", "load", "masked"]
