"""Convolutions of arrconv beside those of other libraries: `python -m benchmarks.peers`."""
