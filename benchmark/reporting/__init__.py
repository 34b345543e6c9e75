"""Tables, figures, claims and the page: pure folds over results, never hand-edited."""
