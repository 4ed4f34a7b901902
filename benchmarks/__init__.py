"""Measurements, each in a process of its own: `python -m benchmarks`."""
