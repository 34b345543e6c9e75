"""Parity with the official implementations: fixtures in, largest differences out."""
