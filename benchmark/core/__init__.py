"""Value types, errors and small foundations that every room may import and that import no room."""
