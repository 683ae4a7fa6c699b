"""API process. A prediction from a caller's point of view: which version, by when, or why not.

The version and the deadline are decided once, here, and travel with the texts.
"""

from app.contract import PREDICT_QUEUES, Chunk, ChunkResult
from app.errors import BrokerUnavailable, ModelUnavailable, NoWorker, PredictionTimeout
from app.fleet import Fleet
from app.inference.gateway import Gateway
from app.models.catalog import Catalog, Entry
from app.settings import Settings


class Predictions:
    """Answers texts through a gateway, or says at once that nobody can."""

    def __init__(self, settings: Settings, catalog: Catalog, gateway: Gateway) -> None:
        self.catalog = catalog
        self._gateway = gateway
        self._timeout_ms = settings.request_timeout_ms

    def predict(self, texts: list[str], model_version: str | None, request_id: str) -> ChunkResult:
        """Outcomes in the order of `texts`, all by the one version that `model_version` names.

        Raises `ModelNotFound`; `BrokerUnavailable`, `NoWorker` or `ModelUnavailable` at once where
        nobody can answer; `PredictionTimeout` after `request_timeout_ms`.
        """
        entry = self.catalog.get(self.catalog.resolve(model_version))
        device = self.device(entry)
        timeout_s = self._timeout_ms / 1000
        chunk = Chunk(
            ref=str(entry.ref),
            texts=texts,
            deadline=self._gateway.now() + timeout_s,
            request_ids=[request_id],
        )
        future = self._gateway.submit(chunk, device)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise PredictionTimeout(self._timeout_ms) from None

    def fleet(self) -> Fleet:
        """The last look at the workers."""
        return self._gateway.fleet()

    def device(self, entry: Entry) -> str:
        """The device whose workers can answer for `entry`; raises as `predict` would."""
        if entry.manifest is None:
            raise ModelUnavailable(str(entry.ref), str(entry.error))
        fleet = self._gateway.fleet()
        if not fleet.reachable:
            raise BrokerUnavailable()
        devices = {"auto": ("gpu", "cpu")}.get(entry.manifest.device, (entry.manifest.device,))
        for device in devices:
            if fleet.holders(str(entry.ref), PREDICT_QUEUES[device]):
                return device
        for failure in fleet.failures(str(entry.ref)):
            raise ModelUnavailable(str(entry.ref), failure.error)
        raise NoWorker(str(entry.ref))
