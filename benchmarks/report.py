"""Show the figures: a table on a terminal, Markdown elsewhere, JSON in a file."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import pace
from benchmarks.figures import Figures, Floor, Target, rows
from benchmarks.measure import Measured
from benchmarks.ways import Name

PACKAGES = ("torch", "google-cloud-storage", "google-crc32c", "requests", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Hold all results of one size."""

    measured: list[Measured]
    figures: list[Figures]
    floor: Floor
    targets: list[Target]


def surroundings() -> dict[str, str]:
    """Hold what the figures depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "server": f"{pace.RATE / 1e6:.0f} MB/s a connection, {1e3 * pace.LATENCY_S:.0f} ms a request",
    }


def show(results: list[Result], around: dict[str, str]) -> None:
    """Print all results."""
    console = Console()
    console.print(
        "\n" + ", ".join(f"{name} {value}" for name, value in around.items()) + "\n", highlight=False, soft_wrap=True
    )
    for result in results:
        heading = _heading(result)
        if sys.stdout.isatty():
            console.print(_table(heading, result))
        else:
            print(_markdown(heading, result))
        for target in result.targets:
            verdict = "ok    " if target.holds else "MISSED"
            console.print(f"{verdict}  {target.text}: {target.measured}", highlight=False, soft_wrap=True)
        console.print()


def save(path: Path, results: list[Result], around: dict[str, str]) -> None:
    """Return all figures and their measurements."""
    path.write_text(json.dumps({"around": around, "results": [asdict(it) for it in results]}, indent=1))


def _heading(result: Result) -> str:
    limit, tensors = result.floor, result.measured[0].tensors
    return (
        f"{limit.size / 1e6:.0f} MB in {tensors} tensors. One memcpy {1e3 * limit.memcpy_s:.1f} ms"
        f" ({limit.size / limit.memcpy_s / 1e9:.1f} GB/s), PyTorch's copy {1e3 * limit.torch_copy_s:.1f} ms, the wire"
        f" {limit.wire_s:.2f} s"
    )


def _cells(result: Result) -> list[list[str]]:
    article = next(it for it in result.figures if it.way is Name.ARTICLE)
    return [[label, *(say(it) for it in result.figures)] for label, say in rows(article, result.floor)]


def _table(heading: str, result: Result) -> Table:
    table = Table(title=heading, title_justify="left")
    table.add_column("")
    for it in result.figures:
        table.add_column(it.way, justify="right")
    for cells in _cells(result):
        table.add_row(*cells)
    return table


def _markdown(heading: str, result: Result) -> str:
    head = ["", *(it.way for it in result.figures)]
    lines = [head, ["---", *("---:" for _ in result.figures)], *_cells(result)]
    return "\n".join([f"### {heading}", "", *(f"| {' | '.join(cells)} |" for cells in lines), ""])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
