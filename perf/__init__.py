"""Benchmark scripts, side by side with a reference, and the simulations behind docs/statistics.md."""
