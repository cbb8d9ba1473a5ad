"""Adapter for distributed-llama: output read, clock calls stamped by a preloaded shim, traps refused before it starts.

The way of a run: `command` reads the user's own command line (`invocation`), checks the model against the number of nodes
(`program`, `model_file`, `shapes`), starts it with the shim (`shim`, `feed`, `child`), and turns lines of output (`output`) and
stamps (`steps`) into spans: `root` on the node that generates, `worker` on the others.
"""
