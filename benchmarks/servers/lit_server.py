"""Contender. LitServe: its batching between API servers and one model process."""

import argparse
from collections.abc import Sequence

import litserve as ls

from benchmarks.servers.model import Answer, load_classifier


class SentimentAPI(ls.LitAPI):
    """Classifies batches of texts."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.sentiment = load_classifier()

    # No annotations here and in encode_response: LitServe would have pydantic check every body.
    def decode_request(self, request):
        """The text of a body."""
        return request["text"]

    def batch(self, inputs: Sequence[str]) -> Sequence[str]:
        """Texts need no stacking."""
        return inputs

    def predict(self, x: str | Sequence[str]) -> Answer | list[Answer]:
        """Classify a batch; without batching LitServe gives the text alone."""
        return self.sentiment.one(x) if isinstance(x, str) else self.sentiment.many(x)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """An answer per text."""
        return output

    def encode_response(self, output):
        """The answer is the body."""
        return output


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    timeout_s = 0.001 if options.batch > 1 else 0.0
    api = SentimentAPI(max_batch_size=options.batch, batch_timeout=timeout_s)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=options.workers)
    quiet = {"log_level": "warning", "access_log": False, "generate_client_file": False}
    server.run(host="127.0.0.1", port=options.port, num_api_servers=2, **quiet)


if __name__ == "__main__":
    main()
