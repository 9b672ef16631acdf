"""Test that task/config.py beside spot.toml types [model] and [training], and that its mistakes are one line each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spot.config.load import SettingsError, load, override
from spot.config.settings import Settings
from tests.machinery.spot_toml import GOOD, changed

CONFIG = """\
from __future__ import annotations
from dataclasses import dataclass, field
from typing import Literal

@dataclass(frozen=True, kw_only=True)
class Model:
    hidden_size: int = 32
    sizes: tuple[int, ...] = (1, 2)
    norm: Literal["layer", "rms"] = "layer"
    window: int | None = None

@dataclass(frozen=True, kw_only=True)
class Training:
    learning_rate: float = 0.002

    def __post_init__(self) -> None:
        if self.learning_rate < 0:
            raise ValueError("learning_rate must not be negative")

@dataclass(frozen=True, kw_only=True)
class Config:
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
"""
LAST = CONFIG[CONFIG.rindex("@dataclass") :]


def project(folder: Path, config: str | None = CONFIG, **values: str) -> Path:
    """Write a project with these values, written as TOML, and return its spot.toml."""
    text = GOOD
    for key, value in values.items():
        text = changed(key.replace("__", ".").replace("_", "-"), value, text)
    path = folder / "spot.toml"
    path.write_text(text, encoding="utf-8")
    if config is not None:
        (folder / "task").mkdir()
        (folder / "task" / "config.py").write_text(config, encoding="utf-8")
    return path


def settings(folder: Path, **values: str) -> Settings:
    return load(project(folder, **values))


def flags(settings: Settings) -> dict[str, str]:
    words = settings.arguments()
    return dict(zip(words[::2], words[1::2], strict=True))


def mistake(path: Path, *words: str) -> str:
    with pytest.raises(SettingsError) as caught:
        override(load(path), {}, words)
    [line] = caught.value.lines
    assert line.isascii()
    assert line.isprintable()
    return line.removeprefix(f"{path}: ").removeprefix("command line: ")


def test_both_tables_become_flags_and_every_default_is_pinned(tmp_path: Path) -> None:
    found = flags(settings(tmp_path, model__hidden_size="64", model__sizes="[3, 4]", training__learning_rate="1"))
    assert found.items() >= {"--epochs": "20", "--data": "sample"}.items()
    own = {"--model.hidden-size": "64", "--model.sizes": "[3, 4]", "--model.norm": "layer", "--learning-rate": "1"}
    assert found.items() >= own.items()
    assert "--model.window" not in found


def test_the_command_line_goes_over_both_tables(tmp_path: Path) -> None:
    before = settings(tmp_path, model__hidden_size="64", training__learning_rate="0.5")
    words = ["--model.hidden-size", "128", "--model.sizes=[5]", "--learning-rate", "0.25", "--epochs", "3"]
    after = override(before, {}, words)
    changes = {"--model.hidden-size": "128", "--model.sizes": "[5]", "--learning-rate": "0.25", "--epochs": "3"}
    assert flags(after) == flags(before) | changes
    assert override(after, {}, ["--model.window", "7"]).model == {"hidden-size": "128", "sizes": "[5]", "window": "7"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model__hiden_size", "1", "model.hiden-size is not in task/config.py: did you mean hidden-size?"),
        ("model__zzz", "1", "model.zzz is not in task/config.py: python -m task --help lists the flags"),
        ("model__learning_rate", "1", "model.learning-rate is not in task/config.py: python -m task --help"),
        ("training__learning_rat", "1", "training.learning-rat is not a flag of the trainer: did you mean learning-r"),
        ("training__hidden_size", "1", "training.hidden-size is not a flag of the trainer: python -m task --help"),
        ("model__hidden_size", "64.0", "model.hidden-size is 64.0: a whole number"),
        ("model__hidden_size", '"many"', "model.hidden-size is 'many': a whole number"),
        ("model__hidden_size", "2026-07-30", "model.hidden-size is datetime.date(2026, 7, 30): a whole number"),
        ("model__hidden_size", "{}", "model.hidden-size is {}: a whole number"),
        ("model__sizes", "[1, true]", "model.sizes is [1, True]: a list, each item a whole number"),
        ("model__norm", '"batch"', "model.norm is 'batch': one of layer, rms"),
        ("training__learning_rate", "nan", "training.learning-rate is nan: a number"),
        (
            "training__learning_rate",
            "-1",
            "[training]: the configuration is refused: learning_rate must not be negativ",
        ),
        ("training__accumulate", "3", "[training]: --accumulate 3 does not divide --batch-size 64"),
        ("model", "[1]", "model is [1]: a table, [model]"),
    ],
)
def test_a_mistake_in_a_setting_of_the_task_is_named(tmp_path: Path, key: str, value: str, said: str) -> None:
    assert mistake(project(tmp_path, **{key: value})).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model.hidden-size 6.5", "model.hidden-size is '6.5': a whole number"),
        ("--model.hiden-size 6", "model.hiden-size is not in task/config.py: did you mean hidden-size?"),
        ("--learning-rate x", "training.learning-rate is 'x': a number"),
        ("--model 6", "training.model is not a flag of the trainer"),
        ("--cloud.project 6", "training.'cloud.project' is not a flag of the trainer"),
    ],
)
def test_a_mistake_on_the_command_line_is_named_alike(tmp_path: Path, words: str, said: str) -> None:
    assert mistake(project(tmp_path), *words.split()).startswith(said)


def test_accumulation_divides_the_batch_of_the_same_settings(tmp_path: Path) -> None:
    found = settings(tmp_path, training__accumulate="3", training__batch_size="9")
    assert flags(found).items() >= {"--accumulate": "3", "--batch-size": "9"}.items()


def test_without_a_configuration_there_are_no_settings_of_the_task(tmp_path: Path) -> None:
    assert mistake(project(tmp_path, None, model__x="1")).startswith("model.x is not in task/config.py")
    (tmp_path / "b").mkdir()
    rate = mistake(project(tmp_path / "b", None, training__learning_rate="1"))
    assert rate.startswith("training.learning-rate is not a flag of the trainer")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("class Config", "SyntaxError: expected ':'"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('a\\nb')", "RuntimeError: a b"),
        ("x = 1", "has no attribute 'Config'"),
        (CONFIG.replace(": int = 32", ": int"), "Model.hidden_size has no default: give it one"),
        (
            CONFIG.replace(": int = 32", ": complex = 1j"),
            "Config.model.hidden_size has the type <class 'complex'>: allowed",
        ),
        (CONFIG.replace("hidden_size: int = 32", "x: int = 1.5"), "Config.model.x has a wrong default: 1.5 is not"),
        (f"{CONFIG}    data: Model = field(default_factory=Model)", "Config.data is not allowed: only Config.model"),
        (CONFIG.replace("hidden_size: int = 32", "x: Missing = 1"), "NameError: name 'Missing' is not defined"),
        (CONFIG.replace(" learning_rate: float = 0.002", " epochs: int = 1"), "has no attribute 'learning_rate'"),
        (f"{CONFIG.partition('    def')[0]}    epochs: int = 1\n{LAST}", "training.epochs: --epochs is a flag of the"),
    ],
)
def test_a_broken_configuration_is_one_line_with_its_file(tmp_path: Path, config: str, said: str) -> None:
    path = project(tmp_path, config)
    with pytest.raises(SettingsError) as caught:
        load(path)
    [line] = caught.value.lines
    assert line.startswith(f"{tmp_path}/task/config.py: ")
    assert said in line


def loaded(path: Path) -> str:
    """Return what a fresh process prints that loads the settings and asks for torch and the module of the task."""
    code = f"""
import sys
from pathlib import Path
from spot.config.load import SettingsError, load
try:
    load(Path({str(path)!r}))
except SettingsError as error:
    print(error)
print("torch" in sys.modules, "task" in sys.modules)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout


def test_a_configuration_is_loaded_by_its_path_and_without_torch(tmp_path: Path) -> None:
    assert loaded(project(tmp_path)) == "False False\n"


def test_a_configuration_that_imports_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"{tmp_path}/task/config.py: it imports torch, which submit does not need: move what needs torch to another"
    (tmp_path / "torch.py").touch()  # its name counts, and PyTorch takes seconds
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert loaded(project(tmp_path, CONFIG.replace("import Literal", "import Literal\nimport torch"))).startswith(line)
