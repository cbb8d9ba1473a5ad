"""The daemon that records a measurement, and the analysis that turns it into joules.

Two sides that meet only in the run file: `epid.daemon` takes bytes and writes them down; `epid.analysis` and `epid.report`
read run files and never talk to a meter. `epid.record` is the file, `epid.clocks` the one clock estimator of both sides.
"""

__version__ = "0.1.0"
