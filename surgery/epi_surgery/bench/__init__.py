"""How fast cut models really are: variants against the fairest baseline there is, paired and interleaved. Imports torch."""
