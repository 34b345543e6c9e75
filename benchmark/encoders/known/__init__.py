"""Cards of encoders, NAME.yaml, and files of encoders that no card can say (`ENCODERS.register`)."""
