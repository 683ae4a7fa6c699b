"""Worker process. Training: from a file of labelled texts to a version that can be served.

The parts, in the order of a run: data, split, recipes, evaluate, reference, write.
"""
