"""Where the template and the project in it lie."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROJECT = REPOSITORY / "<<cookiecutter.project_slug>>"
SRC = PROJECT / "src"
