"""CLI. `mlserve load`: adds a version to the models directory and has every worker hold it."""

from pathlib import Path

import click
import msgspec

from app.broker import redis_client
from app.models import rollout
from app.models.base import NAME_PATTERN, VERSION_PATTERN, Ref, check_name
from app.models.catalog import MANIFEST_FILE, Catalog
from app.models.progress import Progress
from app.settings import Settings
from cli.inventory import look_at_fleet
from cli.options import Call, verb
from cli.rollouts import carry_out, finish, timeout_option

FIRST_VERSION = "v1"


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the model, for a Hugging Face directory.")
@click.option("--version", help="Its version, v1 where it is not given.")
@timeout_option
@verb
def load(
    call: Call, path: Path, name: str | None, version: str | None, timeout: float | None
) -> None:
    """Add a model version and wait until every worker holds it.

    PATH is a model directory, or an archive of one (.zip, .tar, .tar.gz, .tgz). With --name it may
    be a Hugging Face directory of a sequence classifier. What is active stays.
    """
    from app.models.install import install

    settings = call.settings
    named = _named(path, name, version)
    ref, is_new = install(path, Path(settings.models_dir), settings.limits, named)
    call.tell(
        f"{ref} {'installed' if is_new else 'was already installed'} in {settings.models_dir}"
    )
    seen = spread(call, ref, timeout)
    rows = msgspec.to_builtins(seen.workers) if seen else []
    data = {"ref": str(ref), "installed": is_new, "workers": rows}
    if seen is None:
        call.show(data, lambda: None)
    else:
        finish(call, seen, data, f"{ref} is held by all workers")


def _named(path: Path, name: str | None, version: str | None) -> Ref | None:
    if name is None and version is None:
        return None
    if name is None or not path.is_dir() or (path / MANIFEST_FILE).exists():
        raise click.UsageError(
            f"--name and --version are for a Hugging Face directory; {MANIFEST_FILE} has both"
        )
    return Ref(
        check_name(name, NAME_PATTERN), check_name(version or FIRST_VERSION, VERSION_PATTERN)
    )


def spread(call: Call, ref: Ref, timeout_s: float | None) -> Progress | None:
    """Have every worker hold `ref`, which is on disk; None where none runs: then the next one."""
    seen = look_at_fleet(call.settings)
    if seen.hosts:
        return carry_out(call, lambda rollouts: rollouts.load(ref), timeout_s)
    _ask_for(call.settings, ref, seen.reachable)
    why = "no worker is running" if seen.reachable else f"workers are unreachable ({seen.reason})"
    call.tell(f"{why}: {ref} will be loaded at the next start")
    return None


def _ask_for(settings: Settings, ref: Ref, is_reachable: bool) -> None:
    catalog = Catalog(settings.models_dir, settings.default_model)
    with redis_client(settings) as client:
        rollout.ask_for(client if is_reachable else None, catalog, ref)
