"""Results that travel: bundles, their recomputation, signatures, the registry of rows made elsewhere, and the
formats that others read."""
