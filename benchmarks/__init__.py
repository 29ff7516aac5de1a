"""What labkit costs, each figure as a ratio against its peer in the same run: `python -m benchmarks`."""
