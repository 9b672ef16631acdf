"""What a machine type is made of agrees with what is said of it elsewhere."""

from __future__ import annotations

from spot.google.gpus import wrong_accelerator, wrong_count
from spot.google.machine_parts import known
from spot.google.shapes import vcpus
from spot.pricing.table import packaged


def test_every_machine_of_the_packages_table_is_known() -> None:
    priced = {resource for resource, _ in packaged().rates if "-" in resource and resource != "pd-ssd"}

    assert priced <= set(known())
    assert len(known()) == 45


def test_the_parts_are_those_of_the_machine() -> None:
    for name, parts in known().items():
        assert parts.vcpus == vcpus(name)
        assert wrong_accelerator(name, parts.gpu or "none") is None, name
        if parts.gpu:
            assert wrong_count(name, parts.gpus) is None, name


def test_memory_and_local_ssd_grow_with_the_machine() -> None:
    found = {name: (parts.ram_gib, parts.local_ssd_gib) for name, parts in known().items()}

    assert found["n1-standard-8"] == (30, 0)
    assert found["n1-highmem-8"] == (52, 0)
    assert found["g2-standard-24"] == (96, 0)
    assert found["a2-megagpu-16g"] == (1360, 0)
    assert found["a2-ultragpu-2g"] == (340, 750)
    assert found["a3-highgpu-8g"] == (1872, 6000)
