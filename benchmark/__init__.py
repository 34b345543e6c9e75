"""CXR-AlignBench: fair, reproducible comparison of image-text alignment methods in radiology."""

__version__ = "0.1.0"
