"""CLI. `mlserve load`: adds a version to the models directory and has every worker hold it."""

from pathlib import Path

import click
import msgspec

from app.broker import redis_client
from app.models import rollout
from app.models.base import Ref
from app.models.catalog import Catalog
from app.models.progress import Progress
from app.settings import Settings
from cli.inventory import look_at_fleet
from cli.options import Call, verb
from cli.rollouts import carry_out, finish, timeout_option


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@timeout_option
@verb
def load(call: Call, path: Path, timeout: float | None) -> None:
    """Add a model version and wait until every worker holds it.

    PATH is a model directory, or an archive of one (.zip, .tar, .tar.gz, .tgz). What is active
    stays.
    """
    from app.models.install import install

    settings = call.settings
    ref, is_new = install(path, Path(settings.models_dir), settings.limits)
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
