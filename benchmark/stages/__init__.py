"""The stages of a run: each reads and writes files and calls the rooms below."""
