"""Adapter for PyTorch, which it never imports: it is handed the module that the program has imported itself.

`adapter` finds models as they are first called (`discovery`, `anatomy`), replaces `__call__` of the classes of their layers
(`calls`) and turns the stamps of each computation (`stamps`, `clocks`) into spans (`tracer`). Nothing is ever written into an
object of the program: only into classes, and `detach` takes it out again.
"""
