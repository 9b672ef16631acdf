"""Test that the serving side of the documentation reads the model in use, in its generation, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spot.promotion import settle
from spot.storage import paths
from spot.storage.factory import open_store
from tests.machinery.promotion.trained import finish
from tests.machinery.samples import T0
from tests.paths import PROJECT

RUN = "20261101-first"


def serve(gs_uri: str) -> None:
    """Run the code of the page for a bucket and a prefix."""
    page = (PROJECT / "docs/champion.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    bucket, _, prefix = gs_uri.removeprefix("gs://").partition("/")
    exec(code.replace("BUCKET", bucket).replace("PREFIX", prefix), {})


def test_the_served_files_are_those_that_were_promoted(
    gs_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, models = open_store(gs_uri), open_store(f"{gs_uri}/models")
    finish(models, None, RUN)
    settle.promote(store, models, RUN, T0, by="a person", reason="the first")
    serve(gs_uri)
    served = {path.relative_to("served").as_posix(): path.read_text() for path in Path("served").rglob("*.*")}
    assert served == {name: name for name in (paths.MODEL, "model/config.json")}

    name = paths.output(RUN, paths.MODEL)
    models.write(name, b"overwritten", if_generation=models.read(name).generation)
    with pytest.raises(Exception, match=r"404|not the file that was promoted"):
        serve(gs_uri)
