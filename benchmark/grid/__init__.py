"""What is run: parameters, cells, requests, and where every file lies."""
