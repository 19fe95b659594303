"""Measurements of what the package promises; `python -m benchmarks` lists them, README.md says how to read them."""
