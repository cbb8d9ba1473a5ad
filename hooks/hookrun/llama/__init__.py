"""Adapter for llama.cpp: `Runner` measures prompts on an instrumented context. Loading the engine is left to `engine`."""

from .runner import Request, Runner, Workload

__all__ = ["Request", "Runner", "Workload"]
