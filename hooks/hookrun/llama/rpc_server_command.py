"""`hookrun rpc-server`: lends this machine's cores and memory to `hookrun llama --rpc` on another."""

from __future__ import annotations

import argparse
import ctypes
import ipaddress
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ..arguments import whole
from ..errors import HookrunError, Interrupted
from .loading import engine_version, set_wait_policy
from .remote import DEFAULT_PORT, INSECURE, ggml_library

CPU_DEVICE = 0
"""GGML_BACKEND_DEVICE_TYPE_CPU."""

_EXAMPLE = """examples:
  hookrun rpc-server
  hookrun rpc-server --host 192.168.7.2 --threads 3 --cache ~/.cache/hookrun-rpc
"""


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "rpc-server",
        help="lend this machine to a llama.cpp run on another",
        description=f"Serves llama.cpp's RPC backend, one client at a time, until interrupted. Mind: {INSECURE}.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=whole(1), default=DEFAULT_PORT, metavar="P", help=f"port to listen on ({DEFAULT_PORT})")
    parser.add_argument("--threads", type=whole(1), default=cores, metavar="T", help=f"threads (all cores: {cores})")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep large weights here, so that they are sent only once")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until a signal comes; HookrunError where the port cannot be had."""
    endpoint = f"{_address(options.host)}:{options.port}"
    set_wait_policy()
    engine_version()
    server = threading.Thread(target=_serve, args=(endpoint, options.threads, _folder(options.cache)), daemon=True)
    print(f"hookrun: warning: {INSECURE}", file=sys.stderr, flush=True)
    # Blocked before the thread is there, which inherits it: signals then wait for sigtimedwait below.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    server.start()
    while server.is_alive():
        came = signal.sigtimedwait((signal.SIGINT, signal.SIGTERM), 0.5)
        if came is not None:
            raise Interrupted(came.si_signo)
    raise HookrunError(f"llama.cpp does not serve at {endpoint}; is the port taken, or the address not this machine's?")


def _serve(endpoint: str, threads: int, cache: bytes | None) -> None:
    device = ggml_library("ggml").ggml_backend_dev_by_type(CPU_DEVICE)
    devices = (ctypes.c_void_p * 1)(device)
    ggml_library("ggml-rpc").ggml_backend_rpc_start_server(endpoint.encode(), cache, threads, 1, devices)


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise HookrunError(f"--host {text!r} is no IPv4 address of this machine") from None


def _folder(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HookrunError(f"cannot keep weights in {path}: {error.strerror}") from None
    return f"{path}/".encode()
