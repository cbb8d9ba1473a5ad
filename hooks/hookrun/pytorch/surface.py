"""The few places of torch that the hooks rest on, looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

from .calls import Call


@dataclass(frozen=True, slots=True)
class Surface:
    """`call` is torch's own `Module.__call__`; `replaceable` says that it does nothing but go on to `_call_impl`.

    `tracing` is answered with a constant by the tracer of torch.compile and costs least, `compiling` knows of exports too.
    """

    module: Any
    lists: tuple[Any, ...]
    call: Call
    replaceable: bool
    tracing: Call
    compiling: Call

    @classmethod
    def of(cls, torch: ModuleType) -> Self:
        """Look at the torch that the program has imported."""
        nn = torch.nn
        return cls(
            module=nn.Module,
            lists=(nn.ModuleList, nn.Sequential),
            call=nn.Module.__call__,
            replaceable=nn.Module.__call__ is getattr(nn.Module, "_wrapped_call_impl", None) and hasattr(nn.Module, "_call_impl"),
            tracing=torch.compiler.is_dynamo_compiling,
            compiling=torch.compiler.is_compiling,
        )

    def is_own(self, call: Call) -> bool:
        """Return whether a call is torch's own and may be replaced."""
        return self.replaceable and call is self.call
