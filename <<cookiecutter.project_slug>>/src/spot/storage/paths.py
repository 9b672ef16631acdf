"""The names of objects in the bucket, in one place (docs/checkpoints.md draws the tree)."""

from __future__ import annotations

import re
from dataclasses import dataclass

RUN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""A run's and an attempt's id: also a label's value on Vertex AI, and a segment of an object's name."""

MODEL = "model.safetensors"
METRICS = "metrics.json"
COMPLETION = "completion.json"


def manifests(run: str) -> str:
    """The prefix of a run's manifests."""
    return f"{run}/manifests/"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Commit:
    """A committed checkpoint, as the name of its manifest tells it. In the order of steps."""

    step: int
    token: int
    """Of the writer's lease under which it was written: a later writer has a higher one."""
    from_step: int
    """The checkpoint that its writer began from; 0 if from nothing."""
    from_token: int


def manifest(run: str, commit: Commit) -> str:
    """The manifest of a checkpoint: its existence is the commit."""
    began = f"{commit.from_step:010d}-{commit.from_token:04d}"
    return f"{manifests(run)}{commit.step:010d}-{commit.token:04d}-from-{began}.json"


def commit_of_manifest(name: str) -> Commit | None:
    """What a manifest's name tells, None for an object that is none."""
    match = re.fullmatch(r".*/manifests/(\d{10})-(\d{4,})-from-(\d{10})-(\d{4,})\.json", name)
    if match is None:
        return None
    step, token, from_step, from_token = map(int, match.groups())
    return Commit(step=step, token=token, from_step=from_step, from_token=from_token)


def writer(run: str) -> str:
    """The writer's lease of a run."""
    return f"{run}/writer.json"


def quarantine(run: str, step: int, generation: int) -> str:
    """Where a manifest is kept that no run resumes from any more."""
    return f"{run}/quarantine/{step:010d}-{generation}.json"


def data(run: str) -> str:
    """The prefix of the parts of all of a run's checkpoints."""
    return f"{run}/data/"


def part(run: str, step: int, attempt: str, start: int, save: int, index: int) -> str:
    """One part. Each save of each start writes under names of its own, so no part is ever written twice."""
    return f"{data(run)}{step:010d}/{attempt}.{start}.{save}/part-{index:05d}"


def step_of_part(name: str) -> int | None:
    """The step in a part's name, None for an object that is none."""
    match = re.fullmatch(r".*/data/(\d{10})/[^/]+/part-\d{5}", name)
    return int(match[1]) if match else None


def markers(run: str) -> str:
    """The prefix of a run's markers."""
    return f"{run}/attempts/"


def marker(run: str, attempt: str, start: int, event: str) -> str:
    """The marker of the `start`-th start of the process in `attempt`; `event` is started or ended."""
    return f"{markers(run)}{attempt}/{start}-{event}.json"


def output(run: str, name: str) -> str:
    """One of a run's results, under the output directory."""
    return f"{run}/{name}"
