"""Pure functions over arrays: metrics, intervals, comparisons. Nothing here reads a file."""
