"""Alignment methods, one file each. They see features and the interface in `methods.base`, nothing else.

References such as Q-Z1 or B5 are entries of `docs/official-differences.md`.
"""
