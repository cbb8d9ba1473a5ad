"""Other machines' memory and cores through llama.cpp's RPC backend: names, a safe first contact, devices.

llama.cpp ends the process where a server cannot be reached or is none, so the first contact is made in a child process.
A server takes one client at a time and, by its own authors' word, has no security at all: for loopback or a closed network only.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import HookrunError

DEFAULT_PORT = 50052
MOST_SERVERS = 16
"""GGML_RPC_MAX_SERVERS."""
PATIENCE_S = 15.0
INSECURE = "llama.cpp's RPC has no security: whoever reaches the port can take over this machine; use it on a closed network only"


@dataclass(frozen=True, slots=True)
class RemoteDevice:
    """One device of a server, by the name the engine gives it here (RPC0, RPC1, …)."""

    name: str
    endpoint: str


def endpoints(text: str) -> tuple[str, ...]:
    """Read `host:port,host:port`; a port left out is the usual one."""
    found = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        host, colon, port = part.rpartition(":")
        host, port = (host, port) if colon else (part, str(DEFAULT_PORT))
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise HookrunError(f"--rpc: {part!r} is no HOST:PORT of an rpc-server")
        found.append(f"{host}:{port}")
    if not 0 < len(found) <= MOST_SERVERS:
        raise HookrunError(f"--rpc names {len(found)} servers; 1 to {MOST_SERVERS} can be used")
    return tuple(found)


def check_servers(names: Sequence[str]) -> None:
    """Meet each server in a child process; HookrunError names the one that does not answer as an RPC server does."""
    for name in names:
        command = [sys.executable, "-m", "hookrun.llama.remote", name]
        environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
        try:
            met = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, env=environment, check=False)
        except subprocess.TimeoutExpired:
            raise HookrunError(f"the rpc-server at {name} answers nothing; it serves one client at a time") from None
        if met.returncode:
            raise HookrunError(f"no rpc-server of this engine's version answers at {name}; start one there: hookrun rpc-server")


def add_servers(names: Sequence[str]) -> list[tuple[int, RemoteDevice]]:
    """Register servers that were checked; return (handle, device) of each of their devices."""
    ggml, rpc = ggml_library("ggml"), ggml_library("ggml-rpc")
    known = ggml.ggml_backend_dev_count()
    devices = []
    for name in names:
        ggml.ggml_backend_register(rpc.ggml_backend_rpc_add_server(name.encode()))
        handles = [ggml.ggml_backend_dev_get(index) for index in range(known, ggml.ggml_backend_dev_count())]
        devices += [(handle, RemoteDevice(ggml.ggml_backend_dev_name(handle).decode(), name)) for handle in handles]
        known += len(handles)
    return devices


def ggml_library(name: str) -> Any:
    """Return one of the engine's libraries with what is called here declared; HookrunError where it was built without."""
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    found = next(iter(sorted(folder.glob(f"lib{name}.so*"))), None)
    if found is None:
        raise HookrunError(f"this llama.cpp was built without lib{name}.so; build it with CMAKE_ARGS=-DGGML_RPC=ON")
    library = ctypes.CDLL(str(found))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for function, result, arguments in (
        ("ggml_backend_dev_count", ctypes.c_size_t, []),
        ("ggml_backend_dev_get", pointer, [ctypes.c_size_t]),
        ("ggml_backend_dev_by_type", pointer, [ctypes.c_int]),
        ("ggml_backend_dev_name", text, [pointer]),
        ("ggml_backend_register", None, [pointer]),
        ("ggml_backend_rpc_add_server", pointer, [text]),
        ("ggml_backend_rpc_start_server", None, [text, text, ctypes.c_size_t, ctypes.c_size_t, ctypes.POINTER(pointer)]),
    ):
        if hasattr(library, function):
            declared = getattr(library, function)
            declared.restype, declared.argtypes = result, arguments
    return library


if __name__ == "__main__":
    print(json.dumps([asdict(device) for _handle, device in add_servers(sys.argv[1:])]))
