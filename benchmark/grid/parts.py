"""Names of the parts of the results."""

VOLUMES = "ct"
"""What is on CT volumes; its parameters are those of `grid.modality.on_volumes`."""
ENCODERS = "encoders"
"""Cells with encoders of their own, beside the main cells of their methods; the `table` of frozen ones."""
TRAINED_ENCODERS = "trained_encoders"
"""The `table` of cells that train their encoders."""
OF_ENCODERS = (ENCODERS, TRAINED_ENCODERS)
PARTS = ("main", "all", VOLUMES, ENCODERS)
