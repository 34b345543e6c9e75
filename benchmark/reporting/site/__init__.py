"""The page that reviewers open: one HTML file, nothing loaded from elsewhere."""
