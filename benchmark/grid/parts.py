"""Names of the parts of the results."""

VOLUMES = "ct"
"""What is on CT volumes; its parameters are those of `grid.modality.on_volumes`."""
