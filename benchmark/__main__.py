"""`python -m benchmark` and `torchrun -m benchmark` are `bench`."""

from benchmark.cli import entry

if __name__ == "__main__":
    entry()
