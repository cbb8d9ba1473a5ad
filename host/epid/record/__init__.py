"""The run file: one MCAP file per measured run, written by the daemon, read by everything else."""
