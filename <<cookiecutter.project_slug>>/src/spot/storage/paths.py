"""Name the objects below the checkpoint and output directories (docs/checkpoints.md shows the tree)."""

import re
from dataclasses import dataclass

MODEL_FOLDER = "model/"
MODEL = f"{MODEL_FOLDER}model.safetensors"
"""The weights, unless the task exports other files."""
METRICS = "metrics.json"
EVALUATION = "evaluation.json"
COMPLETION = "completion.json"


def manifests(run: str) -> str:
    return f"{run}/manifests/"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Commit:
    """Identify a committed checkpoint, by the name of its manifest. Ordered by step."""

    step: int
    token: int
    """Fencing token of its writer: a later holder of the lease has a higher one."""
    from_step: int
    """Step of the checkpoint that the writer resumed from; 0 for none."""
    from_token: int


def manifest(run: str, commit: Commit) -> str:
    """Return the name of a manifest: its existence is the commit."""
    began = f"{commit.from_step:010d}-{commit.from_token:04d}"
    return f"{manifests(run)}{commit.step:010d}-{commit.token:04d}-from-{began}.json"


def commit_of_manifest(name: str) -> Commit | None:
    """Return the commit that a name stands for, None if the object is not a manifest."""
    match = re.fullmatch(r".*/manifests/(\d{10})-(\d{4,})-from-(\d{10})-(\d{4,})\.json", name)
    if match is None:
        return None
    step, token, from_step, from_token = map(int, match.groups())
    return Commit(step=step, token=token, from_step=from_step, from_token=from_token)


def writer(run: str) -> str:
    return f"{run}/writer.json"


def quarantine(run: str, step: int, generation: int) -> str:
    """Return where a damaged manifest is moved."""
    return f"{run}/quarantine/{step:010d}-{generation}.json"


def data(run: str) -> str:
    """Return the prefix of the parts of all checkpoints of a run."""
    return f"{run}/data/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Name the objects of one save. Each name is unique to the save, so that none is written twice."""

    run: str
    step: int
    token: int
    attempt: str
    start: int
    save: int
    world: int = 1

    def part(self, index: int, rank: int = 0) -> str:
        return f"{data(self.run)}{self.step:010d}/{self._save}-r{rank}/part-{index:05d}"

    @property
    def shards(self) -> str:
        return f"{data(self.run)}{self.step:010d}/{self.token:04d}-{self._save}-shard-"

    def shard(self, rank: int) -> str:
        return f"{self.shards}{rank:05d}-of-{self.world:05d}.json"

    @property
    def _save(self) -> str:
        return f"{self.attempt}.{self.start}.{self.save}"


def step_of_data(name: str) -> int | None:
    """Return the step of a part or of the record of a shard, None for another object."""
    match = re.fullmatch(r".*/data/(\d{10})/([^/]+/part-\d{5,}|[^/]+-shard-\d{5}-of-\d{5}\.json)", name)
    return int(match[1]) if match else None


def markers(run: str) -> str:
    return f"{run}/attempts/"


def marker(run: str, attempt: str, start: int, event: str) -> str:
    """Return the marker of start number `start` of `attempt`; `event` is started or ended."""
    return f"{markers(run)}{attempt}/{start}-{event}.json"


def output(run: str, name: str) -> str:
    """Return the name of a result, below the output directory."""
    return f"{run}/{name}"
