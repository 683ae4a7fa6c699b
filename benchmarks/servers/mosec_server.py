"""Contender. mosec: a Rust front, Python worker processes, its batching."""

import os

from mosec import Server, Worker

from benchmarks.servers.model import Answer, load_classifier


class Sentiment(Worker):
    """Classifies batches of bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.model = load_classifier()

    def forward(self, data: dict[str, str] | list[dict[str, str]]) -> Answer | list[Answer]:
        """Classify a batch; without batching mosec gives the body alone."""
        if isinstance(data, dict):
            return self.model.one(data["text"])
        return self.model.many([body["text"] for body in data])


if __name__ == "__main__":
    # mosec reads the command line itself.
    batch = int(os.environ.get("BENCH_BATCH", "32"))
    wait = {"max_wait_time": 1} if batch > 1 else {}
    server = Server()
    server.append_worker(Sentiment, num=2, max_batch_size=batch, route="/predict", **wait)
    server.run()
