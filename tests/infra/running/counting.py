"""What processes do that count together. They import this module anew, and so little else."""

import multiprocessing
import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from infra.running.metrics import Metrics, Sample, Shared, share


def told(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name with its labels, as "name value value"."""
    families = text_string_to_metric_families(metrics.page().decode())
    return {" ".join((one.name, *one.labels.values())): one.value for family in families for one in family.samples}


def sampled(connections: int) -> Sample:
    return Sample(
        waiting_commands=0,
        oldest_wait_s=connections,
        connections=connections,
        subscriptions=0,
        followed_streams=0,
        documents=connections,
    )


def work(
    connections: int | None,
    ready: "multiprocessing.synchronize.Event",
    told_to_end: "multiprocessing.synchronize.Event",
) -> None:
    """A worker that accepts a booking, and ends without a word."""
    metrics = Metrics(share())
    metrics.commands["BookAppointment", "accepted"].inc()
    if connections is not None:
        metrics.sample(sampled(connections))
    ready.set()
    told_to_end.wait(60)
    os._exit(9)


def look(folder: Path, answers: "multiprocessing.SimpleQueue[dict[str, float]]") -> None:
    answers.put(told(Metrics(Shared(folder=folder, place=99, lock_fd=-1))))
