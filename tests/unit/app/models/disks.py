"""A models directory and what one process holds of it, without a reconciler."""

from app.models.catalog import Catalog
from app.models.registry import Registry
from app.settings import Limits


class Disk:
    """A models directory and a registry beside it."""

    def __init__(self, root, **options):
        self.root = root
        self.catalog = Catalog(root, "tiny")
        self.registry = Registry(Limits(), "cpu", now=lambda: 5.0, **options)

    def reconcile(self, first=(), missing=(), unwanted=()):
        """Want everything on disk but `unwanted`."""
        entries = self.catalog.entries(fresh=True)
        wanted = {ref: entry for ref, entry in entries.items() if ref not in unwanted}
        others = {ref: entry for ref, entry in entries.items() if ref in unwanted}
        return self.registry.reconcile(wanted, first, missing, others)

    def held(self):
        """What is told of each version, by its ref."""
        return {model.ref: model for model in self.registry.held()}
