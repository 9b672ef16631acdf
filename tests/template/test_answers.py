"""Check that wrong answers are refused, all at once, and that valid ones arrive unchanged."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException, OutputDirExistsException
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from cookiecutter.utils import create_env_with_context
from hypothesis import given, settings
from hypothesis import strategies as st

from pre_gen_project import refusals
from tests.paths import REPOSITORY
from tests.template.baking import BakedProject
from tests.template.conftest import Bake

TEMPLATE = REPOSITORY / "<<cookiecutter.project_slug>>"
DEFAULTS = prompt_for_config(generate_context(str(REPOSITORY / "cookiecutter.json")), no_input=True)

HOSTILE = {
    "empty": "",
    "blank": "   ",
    "double quote": 'a"b',
    "single quote": "it's",
    "triple quote": '"""',
    "backslash": "a\\b",
    "newline": "us-central1\nb",
    "newline at the end": "us-central1\n",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "null": "a\0b",
    "far too long": "a" * 100_000,
    "emoji": "spot \N{ROCKET}",
    "digits of another script": "\N{ARABIC-INDIC DIGIT ONE}" * 7 + "!",
    "shell": "$(touch /x)",
    "backticks": "`id`",
    "semicolon": "a; rm -rf b",
    "variable": "${HOME}",
    "tag of GitHub": "${{ github.token }}",
    "tag of Jinja": "{{ 7 * 7 }}",
    "TOML": 'x"\n[cloud]\nproject = "y',
    "leading hyphen": "-rf",
    "parent folder": "../../x",
    "markup": "<b>x</b>",
}

REFUSED = {
    "project_name": ["-x", "x-", " x", "x ", "a" * 61, "a/b", "a:b"],
    "project_slug": ["Spot", "spot_training", "-x", "x-", "a" * 41, "a.b", ".", "x/..", "sp\u00f6t"],
    "google_cloud_project": [
        "short",
        "a" * 31,
        "1project",
        "project-",
        "My-Project",
        "my_project",
        "example.com:project",
    ],
    "regions": [
        "us-central1-a",
        "us-central1,",
        ",us-central1",
        "us-central1,us-central1",
        "us-central1, us-central1",
        "US-CENTRAL1",
        "us-central1;us-east4",
        "us-central1,\tus-east4",
        "uscentral1",
        "us-central",
        ",".join(f"us-central{number}" for number in range(21)),
    ],
    "bucket": [
        "gs://bucket",
        "ab",
        "a" * 64,
        "-abc",
        "abc-",
        "Bucket",
        "a..b",
        "192.168.5.4",
        "goog-data",
        "my-google-data",
        "bucket/folder",
    ],
    "gpu": ["TPU_V5", "nvidia_l4", "NVIDIA_L4 "],
    "supervisor": ["laptop", "GitHub", "cloud-run "],
    "schedule": [
        "17 3 * *",
        "17 3 * * 1 2026",
        "60 3 * * 1",
        "17 24 * * 1",
        "17 3 0 * 1",
        "17 3 32 * 1",
        "17 3 * 13 1",
        "17 3 * * 7",
        "*/0 3 * * 1",
        "*/60 3 * * 1",
        "30-10 3 * * 1",
        "17 3 * * FRI-MON",
        "17 3 * * MONDAY",
        "17 3 * * mon",
        "17 JAN * * 1",
        "1,,2 3 * * 1",
        "1-2-3 3 * * 1",
        "17  3 * * 1",
        " 17 3 * * 1",
        "17 3 * * 1 ",
        "17 3 * * ?",
        "17 3 L * *",
        "@weekly",
        "\N{FULLWIDTH DIGIT ONE} 3 * * 1",
        "1" * 200 + " 3 * * 1",
    ],
}

ACCEPTED = {
    "project_name": [
        "x",
        "Ma pr\u00e9vision no. 2",
        "\u9810\u6e2c",
        "a" * 60,
        "Retrain, weekly - v1.0.",
        "class",
    ],
    "project_slug": ["x", "2026-model", "a" * 40, "class", "none"],
    "google_cloud_project": ["abcdef", "a" * 30, "p-12345"],
    "regions": ["us-central1", "us-central1, europe-west4", "northamerica-northeast2,asia-southeast1"],
    "bucket": ["abc", "a" * 63, "team.models_2026-a", "1.2.3", "0-0"],
    "gpu": ["none", "NVIDIA_TESLA_T4", "NVIDIA_A100_80GB"],
    "supervisor": ["cloud-run", "github"],
    "schedule": [
        "* * * * *",
        "0 0 1 1 0",
        "59 23 31 12 6",
        "*/15 0-6,20-23 * * MON-FRI",
        "7 3 1,15 JAN,JUL *",
        "20/15 * * * *",
        "5-50/5 * * * *",
    ],
}


def pairs(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in table.items() for value in values]


def arrived(**answers: str) -> dict[str, object]:
    """Return what each answer becomes in spot.toml and retrain.yml."""
    context = {"cookiecutter": {**DEFAULTS, **answers}}
    render = create_env_with_context(context).from_string
    toml, workflow = (
        render((TEMPLATE / path).read_text(encoding="utf-8")).render(**context)
        for path in ("spot.toml", ".github/workflows/retrain.yml")
    )
    section = tomllib.loads(toml)
    [schedule] = re.findall(r'^ +- cron: "(.*)"$', workflow, re.MULTILINE)
    return {
        "project_name": section["name"],
        "project_slug": section["cloud"]["prefix"],
        "google_cloud_project": section["cloud"]["project"],
        "regions": section["cloud"]["regions"],
        "bucket": section["cloud"]["bucket"],
        "gpu": section["machine"]["accelerator"],
        "supervisor": section["cloud"]["supervisor"],
        "schedule": schedule,
    }


def answers(name: str, value: str) -> dict[str, object]:
    """Return the default answers with one changed, in a region that has every GPU."""
    return {**DEFAULTS, "regions": "us-central1", name: value}


def expected(name: str, answer: str) -> object:
    return [region.strip(" ") for region in answer.split(",")] if name == "regions" else answer


def test_the_default_answers_are_accepted() -> None:
    assert refusals(DEFAULTS) == []


def test_every_answer_asked_for_is_checked_and_arrives() -> None:
    asked = {name for name in DEFAULTS if not name.startswith("_")}

    assert asked == set(REFUSED) == set(ACCEPTED) == set(arrived())


@pytest.mark.parametrize(("name", "value"), pairs(REFUSED))
def test_a_bad_answer_is_refused_in_one_line_that_names_it(name: str, value: str) -> None:
    [line] = refusals({**DEFAULTS, name: value})

    assert line.startswith(f"{name} is {ascii(value)[:50]}")
    assert ": " in line
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_text_is_refused_everywhere(name: str) -> None:
    for value in HOSTILE.values():
        [line] = refusals({**DEFAULTS, name: value})

        assert line.startswith(f"{name} is ")
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 250


@pytest.mark.parametrize(("name", "value"), pairs(ACCEPTED))
def test_an_unusual_but_valid_answer_is_accepted_and_arrives(name: str, value: str) -> None:
    assert refusals(answers(name, value)) == []
    assert arrived(**{name: value})[name] == expected(name, value)


NEARLY_VALID = st.sampled_from(pairs(ACCEPTED)).flatmap(
    lambda pair: st.tuples(
        st.just(pair[0]),
        st.integers(0, len(pair[1])).flatmap(
            lambda at: st.text(max_size=2).map(lambda more: pair[1][:at] + more + pair[1][at:])
        ),
    )
)
PLAIN = st.text("abz019-_.,:*/ '\"\\<>$#%{}\n", max_size=70)


@settings(deadline=None, max_examples=500)
@given(
    st.one_of(
        NEARLY_VALID,
        st.tuples(st.sampled_from(sorted(set(REFUSED) - {"gpu", "supervisor"})), st.one_of(st.text(), PLAIN)),
    )
)
def test_any_text_is_either_refused_by_name_or_arrives_as_given(pair: tuple[str, str]) -> None:
    name, value = pair
    lines = refusals(answers(name, value))

    if lines:
        assert [line.split(" ")[0] for line in lines] == [name]
    else:
        assert arrived(**{name: value})[name] == expected(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_name", 'a"b'),
        ("project_name", "\n"),
        ("project_slug", "sp\u00f6t"),
        ("project_slug", "../outside"),
        ("google_cloud_project", "$(id)"),
        ("regions", "us-central1\\"),
        ("bucket", "gs://bucket"),
        ("schedule", "a" * 10_000),
    ],
)
def test_a_refused_answer_leaves_nothing_behind(
    name: str, value: str, bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    output.mkdir()

    with pytest.raises(FailedHookException):
        bake(**{name: value})

    lines = capfd.readouterr().err.splitlines()
    assert any(line.startswith(f"{name} is ") for line in lines)
    assert list(tmp_path.iterdir()) == [output]
    assert list(output.iterdir()) == []


def test_every_bad_answer_is_reported_at_once(bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    bad = {name: values[0] for name, values in REFUSED.items() if name not in {"gpu", "supervisor"}}

    with pytest.raises(FailedHookException):
        bake(**bad)

    told = [line.split(" ")[0] for line in capfd.readouterr().err.splitlines() if " is '" in line]
    assert told == list(bad)


def test_a_cookiecutter_that_does_not_support_the_tags_is_refused() -> None:
    hook = REPOSITORY / "hooks" / "pre_gen_project.py"

    unrendered = subprocess.run([sys.executable, str(hook)], capture_output=True, text=True, check=False)

    assert unrendered.returncode == 1
    assert unrendered.stderr == "This template needs cookiecutter 2.6 or newer: pip install -U cookiecutter\n"


def test_an_empty_slug_does_not_bake_into_the_folder_itself(bake: Bake, tmp_path: Path) -> None:
    with pytest.raises(OutputDirExistsException):
        bake(project_slug="")

    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_on_offer_is_refused(bake: Bake) -> None:
    with pytest.raises(ValueError, match="TPU_V5"):
        bake(gpu="TPU_V5")


@pytest.mark.parametrize(
    ("gpu", "default"),
    [
        ("NVIDIA_L4", "us-central1,us-east4"),
        ("NVIDIA_TESLA_T4", "us-central1,us-west1"),
        ("NVIDIA_TESLA_A100", "us-central1,us-east1"),
        ("NVIDIA_A100_80GB", "us-central1,us-east4"),
        ("none", "us-central1,us-east4"),
    ],
)
def test_the_default_regions_have_the_gpu(gpu: str, default: str) -> None:
    context = generate_context(str(REPOSITORY / "cookiecutter.json"), extra_context={"gpu": gpu})
    found = prompt_for_config(context, no_input=True)
    assert found["regions"] == default
    assert refusals(found) == []


def test_a_region_without_the_gpu_is_refused_with_the_regions_that_have_it() -> None:
    [line] = refusals({**DEFAULTS, "gpu": "NVIDIA_TESLA_T4", "regions": "us-central1, us-east4"})
    assert line.startswith(
        "regions is 'us-central1, us-east4': us-east4 has no NVIDIA_TESLA_T4, these have: us-central1,"
    )
    assert refusals({**DEFAULTS, "gpu": "none", "regions": "mars-north1"}) == []


def test_the_regions_of_the_prompt_are_those_of_the_project() -> None:
    gpus = tomllib.loads((TEMPLATE / "src/spot/google/machines.toml").read_text(encoding="utf-8"))["gpus"]
    asked = {name: regions.split(",") for name, regions in DEFAULTS["_regions"].items() if name != "none"}
    assert asked == {name: gpus[name]["regions"] for name in asked}


def test_every_gpu_on_offer_has_a_machine() -> None:
    context = generate_context(str(REPOSITORY / "cookiecutter.json"))["cookiecutter"]

    assert list(context["_machines"]) == context["gpu"]


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Ma pr\u00e9vision no. 2", "ma-prevision-no-2"), ("\u9810\u6e2c", "yu-ce"), ("_", "spot-training")],
)
def test_the_slug_is_offered_from_the_name(name: str, slug: str, bake: Bake) -> None:
    project: BakedProject = bake(project_name=name)

    assert project.folder.name == slug
    assert name in project.read("README.md")
