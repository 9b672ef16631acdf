"""Render the templates of `report/templates`, escaped for HTML, SVG, Markdown and Mermaid.

Jinja2 is imported by the first call, so that a command without a report does not load it.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from spot.core.fields import one_line
from spot.core.format import clock

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """Return a template filled with `values`; its name says the format, as in `report.md.j2`."""
    return _environment(template.split(".")[-2]).get_template(template).render(values)


def plain(text: object) -> str:
    """Return `text` on one line, without any meaning in Markdown or HTML."""
    return re.sub(r"[\\`*_{}\[\]<>#|!~@&$]|:(?=//)|(?<=www)\.", lambda match: f"&#{ord(match[0])};", one_line(text))


def label(text: object) -> str:
    """Return `text` as a label in Mermaid, which cannot quote colons, commas and semicolons."""
    return re.sub(r"[^\w -]+", " ", str(text))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of escaped cells; a column aligns right if its name begins with `>`."""
    rule = ["---:" if name.startswith(">") else "---" for name in head]
    lines = [[name.lstrip(">") for name in head], rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@cache
def _environment(language: str) -> "Environment":
    """Escape every value in HTML and SVG by autoescape, in Markdown by `plain`, in Mermaid by `label` where named."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def escaped(value: object) -> Markup:
        return value if isinstance(value, Markup) else Markup(plain(value))

    environment = Environment(
        loader=PackageLoader("spot.report"),
        autoescape=language != "mmd",
        finalize=escaped if language == "md" else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "label": label}
    return environment
