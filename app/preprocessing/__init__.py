"""Worker process. From a text to what a model takes: named steps, listed by each model's manifest.

The same code runs in training and in serving, so a model never sees features that it was not
trained on.
"""
