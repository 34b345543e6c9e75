"""Released checkpoints, their towers, text cleaning and metrics, and the parity with official outputs."""
