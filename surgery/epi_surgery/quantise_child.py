"""Quantise one model through llama.cpp in a process of its own; its log goes to stderr, where the caller reads progress.

Read a job as JSON on stdin: source, target, ftype (llama.h's number), n_threads, allow_requantize. Exit 0 when written.
"""

import ctypes
import json
import sys


def main() -> None:
    """Entry point of the child process."""
    import llama_cpp

    job = json.load(sys.stdin)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = job["ftype"]
    params.nthread = job["n_threads"]
    params.allow_requantize = job["allow_requantize"]
    llama_cpp.llama_backend_init()
    status = llama_cpp.llama_model_quantize(job["source"].encode(), job["target"].encode(), ctypes.byref(params))
    sys.exit(3 if status else 0)


if __name__ == "__main__":
    main()
