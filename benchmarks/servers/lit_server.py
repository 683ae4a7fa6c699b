"""Contender. LitServe: its batching between API servers and one model process."""

import argparse
from collections.abc import Sequence

import litserve as ls

from benchmarks.servers.model import Answer, Model


class SentimentAPI(ls.LitAPI):
    """Classifies batches of texts."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.sentiment = Model()

    # No annotations here and in encode_response: LitServe would have pydantic check every body.
    def decode_request(self, request):
        """The text of a body."""
        return request["text"]

    def batch(self, inputs: Sequence[str]) -> Sequence[str]:
        """Texts need no stacking."""
        return inputs

    def predict(self, x: Sequence[str]) -> list[Answer]:
        """Classify a batch."""
        return self.sentiment.many(x)

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
    port = parser.parse_args().port
    api = SentimentAPI(max_batch_size=32, batch_timeout=0.001)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    quiet = {"log_level": "warning", "access_log": False, "generate_client_file": False}
    server.run(host="127.0.0.1", port=port, num_api_servers=2, **quiet)


if __name__ == "__main__":
    main()
