"""Export a model as a folder that it is rebuilt from: weights, and the configuration of the task."""

import importlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from spot.core import typed
from spot.storage import paths
from spot.storage.base import Damaged, Store, checked_name
from spot.storage.factory import open_store
from spot.storage.fetch import fetch
from spot.storage.records import codec, completion
from spot.storage.records.completion import Completion
from spot.trainer.checkpoint import boxes, pytree, serialize
from spot.trainer.context import Task
from spot.trainer.runtime.errors import UsageError

WEIGHTS = paths.MODEL.removeprefix(paths.MODEL_FOLDER)
CONFIG = "config.json"


def write_model(folder: Path, model: nn.Module, config: object, task: Task, *, write: bool = True) -> None:
    """Write the weights, the values of `config`, and the modules of the task that rebuild the model from both.

    Tied weights are stored once, under their first name. The file has one entry of metadata: safetensors writes several
    in a random order, and equal weights must give equal files. All ranks gather sharded weights, and one writes.
    """
    weights: dict[str, Tensor] = _plain(model).state_dict()
    serialize.check(weights)
    tied = pytree.tied(weights)
    gathered: dict[str, Tensor] = {}
    for name in (name for name in weights if name not in tied):
        tensor = boxes.whole(weights[name].detach())
        if write:  # save_file refuses tensors that share memory, such as slices of one buffer
            gathered[name] = tensor.to("cpu", copy=True).contiguous()
    if not write:
        return
    save_file(gathered, folder / WEIGHTS, metadata={"format": "pt"})
    values = {
        "format": codec.FORMAT,
        "model": task.model,
        "config": task.config,
        "values": typed.flags_of(config) if config else {},
    }
    (folder / CONFIG).write_text(json.dumps(values, indent=1), encoding="utf-8")


def load_exported(source: str | Path) -> nn.Module:
    """Return the model of an exported folder, or of `gs://bucket/prefix/models/RUN/model`, ready to evaluate.

    Raise `UsageError` if this task builds another model, `Damaged` for a file that is not as it was written.
    """
    if not str(source).startswith("gs://"):
        return _load(Path(source), str(source))
    with tempfile.TemporaryDirectory() as folder:
        _download(str(source), Path(folder))
        return _load(Path(folder), str(source))


def _load(folder: Path, source: str) -> nn.Module:
    try:
        values = codec.loads((folder / CONFIG).read_bytes())
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            weights: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UsageError(f"{source} holds no exported model: {CONFIG} or {WEIGHTS} does not exist") from error
    except (ValueError, SafetensorError) as error:
        raise Damaged(f"{source} holds no exported model: {error}") from error
    model = _build(values, source)
    built = _plain(model).state_dict()
    weights |= {name: weights[first] for name, first in pytree.tied(built).items() if first in weights}
    if difference := pytree.difference(built, weights):
        raise UsageError(f"{source} is of another model: {difference}; use the task that trained it")
    _plain(model).load_state_dict(weights)
    return model.eval()


def _build(values: Any, source: str) -> nn.Module:
    """Return the model that the task builds from the exported configuration."""
    model, config, given = (
        values.get(name) if isinstance(values, dict) else None for name in ("model", "config", "values")
    )
    if model is None:
        raise UsageError(
            f"{source}/{CONFIG} names no module that builds the model: build it, and load {WEIGHTS} into it"
        )
    try:
        built = _config(config, given) if config else None
        return cast(nn.Module, importlib.import_module(model).build(built))
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UsageError(f"this task cannot build the model of {source}: {error}") from error


def _config(module: str, given: Any) -> Any:
    kind = importlib.import_module(module).Config
    keys = {key.flag: key for key in typed.keys(kind)}
    if unknown := given.keys() - keys.keys():
        raise ValueError(f"{module}.Config has no {min(unknown)}")
    return typed.build(kind, {flag: None if value is None else keys[flag].read(value) for flag, value in given.items()})


def _download(source: str, folder: Path) -> None:
    """Copy the files of a complete run."""
    match = re.fullmatch(rf"(gs://.+)/([^/]+)/{paths.MODEL_FOLDER}?", source)
    store = open_store(match[1]) if match else None
    found = completion.read(store, match[2]) if match and store else None
    if not (match and store and found):
        raise UsageError(f"{source} is not the model of a complete run: expected gs://bucket/prefix/models/RUN/model")
    fetch_model(store, found, folder)


def fetch_model(store: Store, complete: Completion, folder: Path) -> None:
    """Copy the files of a model, in the generations that the completion names. Raise `Damaged` or `NotFound`."""
    for name, pinned in complete.model.items():
        path = folder / checked_name(name).removeprefix(paths.MODEL_FOLDER)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w+b") as file:
            checksum = fetch(store, paths.output(complete.run, name), pinned.size, pinned.generation, file)
        if checksum != pinned.crc32c:
            where = f"{store.uri}/{complete.run}/{name}"
            raise Damaged(f"{where} has CRC32C {checksum:08x}, written as {pinned.crc32c:08x}")


def _plain(model: nn.Module) -> nn.Module:
    """Return the model that `torch.compile` wrapped: its weights have the names that `build` gives them."""
    return cast(nn.Module, getattr(model, "_orig_mod", model))
