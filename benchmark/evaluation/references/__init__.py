"""References of the main tables: what a method must exceed (floor) and what labels alone reach (ceiling).

One file a reference, found by its registration. A reference sees no text. It is fitted on the training images
where their labels of the evaluated classes are known, which is so for a twin; else by cross-validation on the
evaluation set, no patient in two folds, and its row says so.
"""
