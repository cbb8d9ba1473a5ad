"""Tools for a person at the bench: the simulator, and what talks to the meter board."""
