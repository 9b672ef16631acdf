"""Say what to do next. Silent under cruft, which renders a project a second time for every update."""

import json


def next_steps(slug: str) -> str:
    return f"""
{slug} is ready. See a whole retraining on this machine, preempted, killed, and in time all the same:

    cd {slug}
    python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s demo

Its settings are in spot.toml. README.md says how to put your own model and data in, and how to get to the first
scheduled run on Google Cloud.
"""


if __name__ == "__main__":
    context = json.loads(r"""<< cookiecutter | jsonify >>""")
    if "_output_dir" in context:  # only cookiecutter itself sets it
        print(next_steps(context["project_slug"]))
