"""Instruments inference on a node: which request, token and layer ran when, in the node's own clock.

The walk through the house: `cli` parses; `llama.command` loads a model (`llama.engine`), finds out which of the engine's calls
end a layer (`llama.opmap`, `llama.tracer`) and runs the prompts (`llama.runner`), which writes spans into a preallocated ring
(`ring`); one thread (`courier`) drains that ring into batches for the daemon (`link`, `session`, `backlog`) and a file
(`eventfile`). `recording` holds the two ends together.

Nothing outside `hookrun.llama.engine` loads an engine, numpy or torch.
"""

__version__ = "0.1.0"
