"""Worker process. The task behind bulk jobs: it carries the name of a chunk, never texts."""

from app.contract import RUN_JOB_CHUNK
from app.logs import request_scope
from tasks import app, running
from tasks.guarded import GuardedTask


@app.task(name=RUN_JOB_CHUNK, base=GuardedTask, ignore_result=True)
def run_job_chunk(job_id: str, first: int) -> None:
    """Compute the chunk of a job that starts with text number `first`, if nobody has yet."""
    with request_scope(job_id=job_id, chunk_id=str(first)):
        running.jobs().run(job_id, first)
