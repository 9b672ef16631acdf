"""Name the folders of the template and of the project in it."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROJECT = REPOSITORY / "<<cookiecutter.project_slug>>"
SRC = PROJECT / "src"
