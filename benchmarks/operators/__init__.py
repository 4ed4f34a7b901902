"""Convolutions as operators: what their inverses and norms cost, beside what other libraries have for the same."""
