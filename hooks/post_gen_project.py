"""Print the next steps. Print nothing under cruft, which renders the project again for every update."""

import json


def next_steps(slug: str) -> str:
    return f"""
{slug} is ready. Rehearse a whole retraining with preemptions on this machine:

    cd {slug}
    python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s rehearse

Your settings are in spot.toml. README.md describes how to add your model and data, and the first run on Google Cloud.
"""


if __name__ == "__main__":
    context = json.loads(r"""<< cookiecutter | jsonify >>""")
    if "_output_dir" in context:  # cruft does not set it
        print(next_steps(context["project_slug"]))
