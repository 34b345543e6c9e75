"""Cards of encoders by name: one file each, found by its name in `ENCODERS.register`."""
