"""Benchmarks: `python -m bench` measures what one validation costs, here and in other stacks, in one run."""
