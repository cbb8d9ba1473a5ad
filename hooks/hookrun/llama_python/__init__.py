"""Adapter for `llama_cpp.Llama` objects that the program itself makes; the counterpart of `hookrun.llama`, which makes its own.

llama_cpp is never imported here: the adapter is handed the module that the program has imported.
"""
