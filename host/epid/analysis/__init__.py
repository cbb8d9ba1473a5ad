"""The analysis side: run files in, readings and spans on one timeline, joules out. It never talks to a meter."""
