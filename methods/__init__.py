"""Alignment methods, one file each. They see features and the interface in `methods.base`, nothing else."""
