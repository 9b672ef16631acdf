"""Test random operations on a store against a dict."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from spot.storage.base import ABSENT, Conflict, Damaged, NotFound, Store
from spot.storage.factory import open_store
from tests.conftest import BUCKET

# One name is never a folder of another: a local directory cannot hold both.
NAMES = st.sampled_from(["a", "a-b", "b/a", "b/b", "b/c/d", "b/cc", "ü/ä ?#%"])
PREFIXES = st.sampled_from(["", "a", "a/", "b", "b/", "b/c", "b/c/", "b/c/d", "b/c/d/", "ü", "c/", "/", "../"])
CONTENTS = st.binary(max_size=40)


def machine(uris: Iterator[str]) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        """`objects` is the model: contents and generation by name."""

        @initialize()
        def begin(self) -> None:
            self.store: Store = open_store(next(uris))
            self.objects: dict[str, tuple[bytes, int]] = {}
            self.generations = [ABSENT, 1]

        @rule(name=NAMES, data=CONTENTS)
        def write_rightly(self, name: str, data: bytes) -> None:
            _, generation = self.objects.get(name, (b"", ABSENT))
            written = self.store.write(name, data, if_generation=generation)
            assert written.generation > generation
            self.objects[name] = data, written.generation
            self.generations.append(written.generation)

        @rule(name=NAMES, draw=st.data())
        def write_on_a_wrong_belief(self, name: str, draw: st.DataObject) -> None:
            believed = draw.draw(st.sampled_from(self.generations))
            if believed != self.objects.get(name, (b"", ABSENT))[1]:
                with pytest.raises(Conflict):
                    self.store.write(name, b"wrong", if_generation=believed)

        @rule(name=NAMES)
        def read(self, name: str) -> None:
            if name in self.objects:
                found = self.store.read(name)
                assert (found.data, found.generation) == self.objects[name]
            else:
                with pytest.raises(NotFound):
                    self.store.read(name)

        @rule(name=NAMES, size=st.integers(0, 40), draw=st.data())
        def read_into(self, name: str, size: int, draw: st.DataObject) -> None:
            data, generation = self.objects.get(name, (b"", ABSENT))
            believed = draw.draw(st.sampled_from([generation, *self.generations[1:]]))
            view = memoryview(bytearray(size))
            if believed in (ABSENT, 1) or believed != generation:
                with pytest.raises(NotFound):
                    self.store.read_into(name, view, generation=believed or 1)
            elif size != len(data):
                with pytest.raises(Damaged):
                    self.store.read_into(name, view, generation=generation)
            else:
                self.store.read_into(name, view, generation=generation)
                assert view == data

        @rule(name=NAMES)
        def delete(self, name: str) -> None:
            self.store.delete(name)
            self.objects.pop(name, None)

        @rule(prefix=PREFIXES)
        def list(self, prefix: str) -> None:
            found = [(entry.name, entry.size, entry.generation) for entry in self.store.list(prefix)]
            assert found == sorted(
                (name, len(data), generation)
                for name, (data, generation) in self.objects.items()
                if name.startswith(prefix)
            )

    return Machine


@pytest.mark.parametrize(("kind", "examples"), [("local", 40), ("gs", 25)])
@pytest.mark.usefixtures("emulator_url")
def test_a_store_answers_as_a_dict_would(kind: str, examples: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = directory if kind == "local" else f"gs://{BUCKET}/model"
        uris = (f"{root}/{number}" for number in itertools.count())
        run_state_machine_as_test(machine(uris), settings=settings(max_examples=examples, stateful_step_count=20))
