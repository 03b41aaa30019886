"""The running process: worker pools, caches in memory, digest of the code."""
