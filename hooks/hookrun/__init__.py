"""Instruments inference on a node: which request, token and layer ran when, in the node's own clock.

Rooms: `program` lets hooks into any program, where `pytorch` and `llama_python` follow its models; `llama` and `dllama` run
engines of their own. All write spans into a preallocated ring, which `sending` carries to the daemon or a file; `node` looks at
the machine meanwhile.

A good first walk is that of `hookrun llama`: `cli` parses; `llama.command` loads a model (`llama.engine`), finds out which of the
engine's calls end a layer (`llama.opmap`, `llama.tracer`) and runs the prompts (`llama.runner`).

Nothing outside `hookrun.llama.engine` loads an engine, numpy or torch.
"""

__version__ = "0.1.0"
