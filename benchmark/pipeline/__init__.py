"""The stages. Each reads and writes files and calls the rooms; DVC, `bench` and Python call one function."""
