"""A run in the formats of other tools: Perfetto traces, Parquet tables, plain power traces. Simulated runs say so in each."""
