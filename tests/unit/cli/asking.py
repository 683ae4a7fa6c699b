"""The verbs that ask the service, and the files that they are called with."""

ASKING = [
    ("predict", "a text"),
    ("predict", "a text", "--json"),
    ("predict", "one", "two", "--model", "v2"),
    ("predict", "--file", "texts.txt", "--output", "out.csv"),
    ("predict", "--file", "texts.txt", "--output", "out.csv", "--job", "an id"),
    ("stats",),
    ("drift",),
    ("feedback", "--show", "v2"),
    ("feedback", "labels.csv"),
    ("benchmark", "v2", "10"),
    ("job", "status", "an id"),
    ("job", "watch", "an id"),
    ("job", "results", "an id"),
    ("job", "errors", "an id"),
    ("job", "cancel", "an id"),
    ("job", "list"),
    ("job", "submit", "texts.txt"),
]


def write_inputs(directory):
    """The files of `ASKING`."""
    (directory / "texts.txt").write_text("good\nbad\n")
    (directory / "labels.csv").write_text("prediction_id,label\nx,positive\n")
