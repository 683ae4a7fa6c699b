"""Reference. What transformers' own pipeline over the directory answers, text by text."""

import argparse
import json
import sys
from pathlib import Path

from transformers import pipeline


def main() -> None:
    """JSON in (texts) and out: of each label, confidence, and tokens, cut as the model is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    directory = parser.parse_args().directory
    classify = pipeline("text-classification", model=str(directory), device="cpu")
    rows = []
    for text in json.load(sys.stdin):
        best = classify(text, truncation=True)[0]
        tokens = len(classify.tokenizer(text, truncation=True)["input_ids"])
        rows.append({"label": best["label"], "confidence": best["score"], "tokens": tokens})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
