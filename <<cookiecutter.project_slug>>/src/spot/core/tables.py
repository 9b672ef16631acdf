"""Build the tables of the command line and of the report."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.core.format import counted, short
from spot.core.history import Decision

LAST_DECISIONS = 12


def facts(rows: Sequence[tuple[str, str | Text]]) -> Table:
    """Return names and their values, one below the other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def table(*heads: str, gap: int = 2, whole: Sequence[str] = ()) -> Table:
    """Return an empty table without borders. A head that begins with > is aligned right; `whole` are never folded."""
    result = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for head in heads:
        name, right = head.lstrip(">"), head.startswith(">")
        result.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=name in whole)
    return result


def decisions(made: Sequence[Decision], most: int, where: str) -> list[RenderableType]:
    """Return the newest decisions, and `where` the earlier ones are."""
    hidden = len(made) - most
    earlier = [Text(f"{counted(hidden, 'earlier decision')}: {where}", style="dim")] if hidden > 0 else []
    return [*earlier, facts([(short(one.at), Text(f"{one.action}: {one.reason}")) for one in made[-most:]])]
