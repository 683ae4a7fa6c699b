"""CLI. `mlserve export`: a version in another format, proven to answer the same."""

from pathlib import Path

import click
import msgspec

from app.models.base import VERSION_PATTERN, Ref, check_name
from app.models.catalog import Catalog
from cli.options import Call, verb


@click.command()
@click.argument("ref", metavar="VERSION")
@click.option("--format", "format_", type=click.Choice(["onnx"]), required=True)
@click.option("--version", help="Version of the export (default: its own, followed by onnx).")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Directory to write (default: name-version, here).",
)
@verb
def export(call: Call, ref: str, format_: str, version: str | None, output: Path | None) -> None:
    """Write a scikit-learn VERSION, such as sentiment-v2, as an ONNX version.

    The directory is one for `mlserve load`. It is written only if it answers as the original does.
    """
    # The model libraries: only where they are needed, for they take a second to import.
    from app.models.export import default_version
    from app.models.export import export as write

    settings = call.settings
    catalog = Catalog(settings.models_dir, settings.default_model)
    entry = catalog.get(catalog.resolve(ref))
    chosen = check_name(version or default_version(entry.ref), VERSION_PATTERN)
    target = output or Path(str(Ref(entry.ref.name, chosen)))
    manifest, difference = write(entry, target, chosen, settings.limits)
    data = {
        "ref": str(manifest.ref),
        "format": format_,
        "output": str(target),
        "steps": msgspec.to_builtins([step.step for step in manifest.pipeline]),
        "largest_difference": difference,
    }
    call.show(data, lambda: _print(data))


def _print(data: dict[str, object]) -> None:
    click.echo(f"{data['ref']} written to {data['output']}")
    click.echo(f"largest difference of a probability: {data['largest_difference']:.1e}")
    click.echo(f"`mlserve load {data['output']}` takes it in")
