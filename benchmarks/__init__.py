"""Studies and measurements, each a module that is run by hand: ``python -m benchmarks.NAME``."""
