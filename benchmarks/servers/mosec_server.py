"""Contender. mosec: a Rust front, Python worker processes, its batching."""

from mosec import Server, Worker

from benchmarks.servers.model import Answer, Model


class Sentiment(Worker):
    """Classifies batches of bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, data: list[dict[str, str]]) -> list[Answer]:
        """Classify a batch."""
        return self.model.many([body["text"] for body in data])


if __name__ == "__main__":
    server = Server()
    server.append_worker(Sentiment, num=2, max_batch_size=32, max_wait_time=1, route="/predict")
    server.run()
