"""`bench score`: predictions made elsewhere, joined to labels and judged."""
