"""Test that an exported folder gives the model back, from this machine or from a bucket, and is checked."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torch import Tensor, nn

from spot.storage import paths
from spot.storage.base import Damaged
from spot.storage.factory import open_store
from spot.trainer.context import Task
from spot.trainer.results.export import load_exported, write_model
from spot.trainer.results.write import write_results
from spot.trainer.runtime.errors import UsageError
from tests.machinery.clocks import ManualClock

CLOCK = ManualClock()
TASK = Task(config="exported_task.config", model="exported_task.model")
CONFIG = """
from dataclasses import dataclass, field

@dataclass(frozen=True, kw_only=True)
class Model:
    layers: int = 1
    sizes: tuple[int, ...] = (4, 3)
    name: str | None = None

@dataclass(frozen=True, kw_only=True)
class Config:
    model: Model = field(default_factory=Model)
"""
MODEL = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self, config):
        super().__init__()
        words, width = config.model.sizes
        self.embedding = nn.Embedding(words, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(config.model.layers))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("empty", torch.zeros(0, 2))
        self.register_buffer("slice", self.embedding.weight.detach()[1:])
        self.register_buffer("flat", self.embedding.weight.detach().view(-1))
        self.register_buffer("turned", torch.arange(6).view(2, 3).T)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        x = self.embedding(x)
        for layer in self.layers:
            x = self.dropout(layer(x)).relu()
        return self.head(x)

def build(config):
    return Tied(config)
"""
GPT2 = """
from transformers import GPT2Config, GPT2LMHeadModel

def build(config):
    return GPT2LMHeadModel(
        GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=32, n_positions=8, bos_token_id=0, eos_token_id=0)
    )
"""


@pytest.fixture(autouse=True)
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a task beside the machinery, and forget its modules afterwards."""
    folder = tmp_path / "project/exported_task"
    folder.mkdir(parents=True)
    (folder / "config.py").write_text(CONFIG)
    (folder / "model.py").write_text(MODEL)
    (folder / "gpt2.py").write_text(GPT2)
    monkeypatch.syspath_prepend(tmp_path / "project")
    yield folder
    for name in [name for name in sys.modules if name.startswith("exported_task")]:
        del sys.modules[name]


def configured(**values: Any) -> Any:
    module = importlib.import_module("exported_task.config")
    return module.Config(model=module.Model(**values))


def built(config: Any) -> nn.Module:
    torch.manual_seed(7)
    model: nn.Module = importlib.import_module("exported_task.model").build(config)
    return model


def exported(tmp_path: Path, config: Any, task: Task = TASK) -> tuple[nn.Module, Path]:
    model, folder = built(config), tmp_path / "model"
    folder.mkdir()
    write_model(folder, model, config, task)
    return model, folder


def same(one: nn.Module, two: nn.Module) -> bool:
    ours, theirs = one.state_dict(), two.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_model_is_rebuilt_with_its_configuration_and_ties(tmp_path: Path) -> None:
    model, folder = exported(tmp_path, configured(layers=2, sizes=(5, 2)))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    found: Any = load_exported(folder)
    assert same(model, found)
    assert found.head.weight is found.embedding.weight
    assert not found.training
    words = torch.arange(5)
    assert torch.equal(found(words), model.eval()(words))


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, configured())
    stored = load_file(folder / "model.safetensors")
    assert "embedding.weight" in stored
    assert "head.weight" not in stored


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    """Of 16 files: safetensors writes two entries of metadata in a random order."""
    config = configured()
    files = set()
    for _ in range(16):
        write_model(tmp_path, built(config), config, TASK)
        files.add((tmp_path / "model.safetensors").read_bytes())
    assert len(files) == 1


def test_a_real_language_model_with_tied_embeddings_is_rebuilt(tmp_path: Path) -> None:
    """By the machinery, and by the library alone."""
    torch.manual_seed(7)
    model: nn.Module = importlib.import_module("exported_task.gpt2").build(None)
    write_model(tmp_path, model, None, Task(model="exported_task.gpt2"))
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    found: Any = load_exported(tmp_path)
    assert same(model, found)
    assert found.lm_head.weight is found.transformer.wte.weight
    words = torch.arange(8)[None]
    assert torch.equal(found(words).logits, model.eval()(words).logits)
    plain = importlib.import_module("exported_task.gpt2").build(None)
    load_model(plain, tmp_path / "model.safetensors")
    assert same(model, plain)


def test_a_compiled_model_has_the_names_of_the_model_inside(tmp_path: Path) -> None:
    config = configured()
    model = built(config)
    write_model(tmp_path, torch.compile(model), config, TASK)  # type: ignore[arg-type]
    assert same(load_exported(tmp_path), model)


def test_weights_that_are_slices_of_one_buffer_are_exported(tmp_path: Path) -> None:
    config = configured(layers=2)
    model = built(config)
    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    start = 0
    for parameter in model.parameters():
        parameter.data = flat[start : start + parameter.numel()].view(parameter.shape)
        start += parameter.numel()
    write_model(tmp_path, model, config, TASK)
    assert same(load_exported(tmp_path), model)


def stored(tmp_path: Path, uri: str) -> tuple[nn.Module, str]:
    """Return a model and the URI of its files in a complete run."""
    model, folder = exported(tmp_path, configured())
    store = open_store(f"{uri}/models")
    write_results(store, "run", folder, {}, {"attempt": "a"}, clock=CLOCK, ended=CLOCK.monotonic(), check_lease=None)
    return model, f"{uri}/models/run/model"


@pytest.mark.parametrize("end", ["", "/"])
def test_the_model_of_a_complete_run_is_loaded(uri: str, end: str, tmp_path: Path) -> None:
    model, where = stored(tmp_path, uri)
    assert same(load_exported(where + end), model)


def test_a_bucket_is_read_only_where_a_run_is_complete(gs_uri: str, tmp_path: Path) -> None:
    _, where = stored(tmp_path, gs_uri)
    open_store(f"{gs_uri}/models").delete(paths.output("run", paths.COMPLETION))
    for source in (where, gs_uri, f"{gs_uri}/models/run", f"{gs_uri}/models/run/model/model.safetensors", "gs://model"):
        with pytest.raises(UsageError, match="is not the model of a complete run: expected gs://"):
            load_exported(source)


def test_a_file_replaced_since_is_not_loaded(gs_uri: str, tmp_path: Path) -> None:
    _, where = stored(tmp_path, gs_uri)
    store = open_store(f"{gs_uri}/models")
    name = paths.output("run", "model/config.json")
    found = store.read(name)
    store.write(name, found.data.replace(b'"model"', b'"MODEL"'), if_generation=found.generation)
    with pytest.raises(Damaged, match=r"names no generation of 'model/config\.json' that exists"):
        load_exported(where)


def test_a_record_with_another_checksum_loads_nothing(gs_uri: str, tmp_path: Path) -> None:
    _, where = stored(tmp_path, gs_uri)
    store = open_store(f"{gs_uri}/models")
    name = paths.output("run", paths.COMPLETION)
    found = store.read(name)
    values = json.loads(found.data)
    values["objects"][paths.MODEL]["crc32c"] ^= 1
    store.write(name, json.dumps(values).encode(), if_generation=found.generation)
    with pytest.raises(Damaged, match=r"model/model\.safetensors has CRC32C \w{8}, written as \w{8}"):
        load_exported(where)


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, configured(layers=2))
    weights = load_file(folder / "model.safetensors")

    def refused(changed: dict[str, Tensor], says: str) -> None:
        save_file(changed, folder / "model.safetensors", {"head.weight": "embedding.weight"})
        with pytest.raises(UsageError, match=says):
            load_exported(folder)

    without = {name: value for name, value in weights.items() if name != "layers.1.bias"}
    refused(without, r"is of another model: layers\.1\.bias is absent in it and float32 \(3,\) here; use the task that")
    refused({**weights, "more": torch.zeros(1)}, r"more is float32 \(1,\) in it and absent here")
    refused({**weights, "layers.1.bias": torch.zeros(4)}, r"layers\.1\.bias is float32 \(4,\) in it and float32 \(3,\)")
    refused({**weights, "count": torch.zeros(())}, r"count is float32 \(\) in it and int64 \(\) here")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"model": None}, UsageError, "names no module that builds the model"),
        ({"model": "no.such.module"}, UsageError, "cannot build the model of .*: No module named 'no'"),
        ({"model": "exported_task.config"}, UsageError, "cannot build the model of .*: module 'exported_task.config'"),
        ({"model": "../model"}, UsageError, "cannot build the model of .*: the 'package' argument is required"),
        ({"model": "a\x1bb"}, UsageError, r"cannot build the model of .*: No module named 'a\\x1bb'"),
        ({"config": 7}, UsageError, "cannot build the model of .*: 'int' object"),
        ({"values": {"model.width": 3}}, UsageError, r"exported_task\.config\.Config has no model\.width"),
        ({"values": {"model.layers": "many"}}, UsageError, "'many' is not a whole number"),
        ({"values": None}, UsageError, "cannot build the model"),
    ],
)
def test_a_configuration_of_another_task_is_refused(
    changes: dict[str, Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    _, folder = exported(tmp_path, configured())
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **changes}))
    with pytest.raises(error, match=says):
        load_exported(folder)


@pytest.mark.parametrize(
    ("name", "data"), [("config.json", b"{"), ("model.safetensors", b"none"), ("config.json", b"[]")]
)
def test_a_broken_file_is_named(name: str, data: bytes, tmp_path: Path) -> None:
    _, folder = exported(tmp_path, configured())
    (folder / name).write_bytes(data)
    with pytest.raises((Damaged, UsageError), match=str(folder)):
        load_exported(folder)
    (folder / name).unlink()
    with pytest.raises(UsageError, match=f"{folder} holds no exported model"):
        load_exported(folder)


def test_a_value_that_the_file_cannot_hold_is_named(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    model.register_buffer("phases", torch.zeros(1, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"phases has dtype torch\.complex64"):
        write_model(tmp_path, model, None, Task(model="any"))
