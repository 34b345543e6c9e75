"""Synthetic chest CT: a phantom in Hounsfield units, its reports, and the official files that hold both."""
