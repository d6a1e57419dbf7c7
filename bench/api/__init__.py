"""Benchmark of the API's routes for customers: `python -m bench.api` measures each, and the layers of one."""
