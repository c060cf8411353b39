"""Benchmarks: each module is a command that prints medians of several repetitions."""
