"""Joules for people and machines: tables, pictures, one self-contained page, one JSON document.

A figure that stems from a simulated meter says so wherever it stands: every table, every picture, every object.
"""
