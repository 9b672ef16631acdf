"""Test what settings become, overrides, unreadable files, and that docs/settings.md lists every key."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from spot.config.load import TABLES, SettingsError, load, override, parse, task_config
from spot.config.settings import Settings
from spot.config.training import RESERVED
from spot.core.errors import SpotError
from spot.core.run import Machine, PolicyConfig, Provisioning, Strategy
from spot.pricing.quotes import quote
from tests.machinery.spot_toml import GOOD, changed
from tests.paths import PROJECT


def lines_of(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(text, "spot.toml")
    return caught.value.lines


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spot.toml"
    path.write_text(GOOD, encoding="utf-8")

    settings = load(path)

    assert settings.name == "Churn"
    assert (settings.cloud.project, settings.cloud.bucket, settings.cloud.prefix) == (
        "acme-ml",
        "acme-ml-training",
        "churn",
    )
    assert settings.cloud.regions == ("us-central1", "us-east4")
    assert (settings.policy.deadline_hours, settings.policy.work_hours) == (12, 1)
    assert settings == parse(GOOD, "spot.toml").model_copy(update={"folder": tmp_path})


def test_everything_lies_below_the_prefix_in_the_bucket() -> None:
    assert parse(GOOD, "spot.toml").root == "gs://acme-ml-training/churn"


def test_the_machine_is_the_one_of_the_settings() -> None:
    assert parse(GOOD, "spot.toml").machine() == Machine(
        type="g2-standard-8", accelerator="NVIDIA_L4", accelerator_count=1, boot_disk_gb=100
    )


def test_a_machine_without_accelerator_has_a_count_of_0() -> None:
    text = changed("machine.type", '"n1-standard-8"', changed("machine.accelerator", '"none"'))

    machine = parse(text, "spot.toml").machine()

    assert (machine.accelerator, machine.accelerator_count) == (None, 0)


@pytest.mark.parametrize(
    ("machine_type", "accelerator"),
    [
        ("g2-standard-8", "NVIDIA_L4"),
        ("n1-standard-8", "NVIDIA_TESLA_T4"),
        ("a2-highgpu-1g", "NVIDIA_TESLA_A100"),
        ("a2-ultragpu-1g", "NVIDIA_A100_80GB"),
        ("n1-standard-8", "none"),
    ],
)
def test_every_machine_that_the_template_offers_is_accepted(machine_type: str, accelerator: str) -> None:
    text = changed("machine.type", f'"{machine_type}"', changed("machine.accelerator", f'"{accelerator}"'))

    assert parse(text, "spot.toml").machine().type == machine_type


def test_the_terms_have_defaults_for_all_that_is_not_written() -> None:
    machine = parse(GOOD, "spot.toml").machine()

    assert parse(GOOD, "spot.toml").policy_config() == PolicyConfig(
        strategy=Strategy.HYBRID,
        regions=("us-central1", "us-east4"),
        hand_over=True,
        flex_start=False,
        work=timedelta(hours=1),
        work_is_measured=False,
        tail=timedelta(),
        provisioning_timeout=timedelta(minutes=30),
        expected_start=timedelta(minutes=15),
        worst_start=timedelta(minutes=25),
        reconcile_interval=timedelta(minutes=5),
        max_checkpoint_interval=timedelta(minutes=10),
        reserve=timedelta(minutes=60),
        max_preemptions=None,
        max_errors=0,
        saved_share=0.0,
        disable_retries=True,
        budget_usd=None,
        usd_per_hour={
            region: {kind: found.usd_per_hour[kind] for kind in (Provisioning.SPOT, Provisioning.ON_DEMAND)}
            for region in ("us-central1", "us-east4")
            if (found := quote(machine, region))
        },
    )


@pytest.mark.parametrize(
    ("key", "value", "field", "meant"),
    [
        ("strategy", '"on-demand"', "strategy", Strategy.ON_DEMAND),
        ("flex_start", "true", "flex_start", True),
        ("work_hours", "2.5", "work", timedelta(hours=2.5)),
        ("provisioning_timeout_minutes", "1", "provisioning_timeout", timedelta(minutes=1)),
        ("expected_start_minutes", "2", "expected_start", timedelta(minutes=2)),
        ("worst_start_minutes", "3", "worst_start", timedelta(minutes=3)),
        ("reconcile_interval_minutes", "4", "reconcile_interval", timedelta(minutes=4)),
        ("reconcile_interval_minutes", '"auto"', "reconcile_interval", timedelta(minutes=5)),
        ("max_checkpoint_interval_minutes", "0.5", "max_checkpoint_interval", timedelta(seconds=30)),
        ("hand_over", "false", "hand_over", False),
        ("reserve_minutes", "5", "reserve", timedelta(minutes=5)),
        ("max_preemptions", "0", "max_preemptions", 0),
        ("max_preemptions", '"unlimited"', "max_preemptions", None),
        ("max_errors", "2", "max_errors", 2),
        ("vertex_restarts", "true", "disable_retries", False),
        ("budget_usd", "12.5", "budget_usd", 12.5),
        ("budget_usd", '"none"', "budget_usd", None),
    ],
)
def test_each_key_of_the_policy_is_a_term(key: str, value: str, field: str, meant: object) -> None:
    assert getattr(parse(changed(f"policy.{key}", value), "spot.toml").policy_config(), field) == meant


def test_an_override_changes_settings_and_prices_and_keeps_the_folder(tmp_path: Path) -> None:
    settings = parse(GOOD, "spot.toml").model_copy(update={"folder": tmp_path})

    changes: dict[str, dict[str, object]] = {
        "policy": {"strategy": "spot", "work_hours": 2.5},
        "cloud": {"regions": ["europe-west4"]},
    }
    policy = (overridden := override(settings, changes)).policy_config()

    assert (policy.strategy, policy.regions, policy.work) == (Strategy.SPOT, ("europe-west4",), timedelta(hours=2.5))
    assert set(policy.usd_per_hour) == {"europe-west4"}
    assert overridden.folder == tmp_path
    assert override(settings, {}) == settings


def test_flags_of_the_command_line_replace_those_of_the_file() -> None:
    flags = override(parse(GOOD, "spot.toml"), {}, ["--epochs", "30", "--keep=2"]).arguments()

    assert flags[:2] == ("--epochs", "30")
    assert flags[-2:] == ("--keep", "2")
    assert flags[2:4] == ("--data", "sample")


@pytest.mark.parametrize("words", [["--epochs"], ["epochs", "3"], ["--epochs", "3", "4"], ["--a=1", "b\nc"]])
def test_words_that_are_no_flags_with_values_are_refused_in_one_line(words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        override(parse(GOOD, "spot.toml"), {}, words)

    [line] = caught.value.lines
    assert line.startswith("command line: -- ")
    assert line.isprintable()
    assert line.endswith("expected flags with values, as in -- --epochs 30")


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        ("machine", "accelerator_count", 2, "machine.accelerator_count is 2: g2-standard-8 has 1"),
        ("--epochs", "", "0", "training.epochs is '0': not a whole number of at least 1"),
        ("--resume", "", "never", "training.resume is 'never': not allowed here"),
        ("--enable-checkpointing", "", "false", "training.enable-checkpointing is 'false': true, or only with"),
        ("cloud", "regions", ["moon"], "cloud.regions[0] is 'moon': a list of 1 to 20 regions"),
        ("policy", "budget_usd", -1.0, 'policy.budget_usd is -1.0: "none", or a number'),
    ],
)
def test_an_override_is_checked_as_the_file_is(table: str, key: str, value: object, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        override(parse(GOOD, "spot.toml"), {table: {key: value}} if key else {}, [] if key else [table, str(value)])

    [line] = caught.value.lines
    assert line.startswith(f"command line: {said}")


@pytest.mark.parametrize("machine_type", ["g2-standard-24", "g2-standard-96"])
def test_the_gpus_of_a_machine_type_are_all_used_or_the_settings_are_refused(machine_type: str) -> None:
    text = changed("machine.type", f'"{machine_type}"')
    [line] = lines_of(text)

    found = re.search(r"machine.accelerator_count is 1: g2-standard-\d+ has (\d)$", line)
    assert found
    count = int(found[1])
    machine = parse(changed("machine.count", "3", changed("machine.accelerator_count", found[1], text)), "x").machine()
    assert (machine.count, machine.accelerator_count, machine.ranks) == (3, count, 3 * count)


def test_machines_without_a_gpu_are_a_rank_each() -> None:
    text = changed("machine.type", '"n1-standard-8"', changed("machine.accelerator", '"none"'))

    assert parse(changed("machine.count", "4", text), "spot.toml").machine().ranks == 4


@pytest.mark.parametrize("value", ['"/elsewhere"', "1", "[]"])
def test_a_file_cannot_name_the_folder_of_its_prices(value: str) -> None:
    [line] = lines_of(changed("folder", value))

    assert line.startswith("spot.toml: folder is ")
    assert line.endswith(": not a setting")


def test_the_trainers_flags_are_what_training_says_in_its_order() -> None:
    assert parse(GOOD, "spot.toml").arguments() == (
        *("--epochs", "20", "--data", "sample", "--patience", "5"),
        *("--enable-checkpointing", "true", "--checkpoint-interval", "auto"),
    )


def test_the_service_account_is_the_projects_training_account_unless_another_is_named() -> None:
    mine = '"mine@other.iam.gserviceaccount.com"'

    assert parse(GOOD, "spot.toml").cloud.service_account == "training@acme-ml.iam.gserviceaccount.com"
    assert parse(changed("cloud.service_account", mine), "spot.toml").cloud.service_account == mine.strip('"')


def test_each_mistake_is_a_line_that_begins_with_the_file() -> None:
    lines = lines_of(changed("cloud.project", "7", changed("policy.reconcile_interval_minutes", "-2")))

    assert [line.split(" is ")[0] for line in lines] == [
        "spot.toml: cloud.project",
        "spot.toml: policy.reconcile_interval_minutes",
    ]


@pytest.mark.parametrize(
    ("text", "reason", "place"),
    [
        ("name = 'x'\nproject\n", "Expected '='", " (at line 2, column 8)"),
        ("name = 'x'\n[cloud", "Expected ']'", " (at end of document)"),
        ("name = 'x'\nname = 'y'\n", "Cannot overwrite a value", " (at line 2, column 11)"),
        ("name = 'x\x00'\n", "Found invalid character", " (at line 1, column 10)"),
        ("[a]\n[" + "\N{ROCKET}" * 1000 + "]\n", "Invalid initial character", " (at line 2, column 2)"),
        ('["' + "a" * 10_000 + '"]\n["' + "a" * 10_000 + '"]', "Cannot declare", " (at line 2, column 10004)"),
        ("name = " + "9" * 5000, "Exceeds the limit (4300 digits)", ""),
    ],
)
def test_what_is_not_toml_is_one_line_with_its_place(text: str, reason: str, place: str) -> None:
    [line] = lines_of(text)

    assert line.startswith(f"spot.toml: not TOML: {reason}")
    assert line.endswith(place)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 300


def test_a_file_that_is_not_there_is_one_line_that_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "spot.toml")

    assert caught.value.lines == [
        f"{tmp_path}/spot.toml: no such file: run spot in the folder of the project, beside spot.toml"
    ]


def locked(path: Path) -> None:
    path.symlink_to(path)  # cannot be read, not even by root


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(lambda path: path.mkdir(), "cannot be read (Is a directory)", id="a folder"),
        pytest.param(locked, "cannot be read (Too many levels of symbolic links)", id="a loop"),
        pytest.param(lambda path: path.write_bytes(b"# a\n# b\n\xff"), "line 3 is not UTF-8 (byte 0xff)", id="bytes"),
    ],
)
def test_what_cannot_be_read_is_one_line(make: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    path = tmp_path / "spot.toml"
    make(path)

    with pytest.raises(SpotError) as caught:
        load(path)

    [line] = caught.value.lines
    assert line.startswith(f"{path}: {said}")


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spot.toml"
    path.write_text(GOOD, encoding="utf-8-sig")

    assert load(path).name == "Churn"


def test_a_hostile_file_name_stays_on_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Path("no\nsuch\x1b[31m"))

    [line] = caught.value.lines
    assert line.isprintable()


def test_values_nested_too_deep_are_one_line() -> None:
    assert lines_of("name = " + "[" * 5000) == ["spot.toml: its values are nested too deep"]


@given(st.text() | st.lists(st.sampled_from(GOOD.splitlines(keepends=True))).map("".join))
def test_any_text_is_settings_or_plain_lines(text: str) -> None:
    lines = ["settings"]
    try:
        parse(text, "spot.toml")
    except SettingsError as error:
        lines = error.lines
    assert lines
    assert all(line.isascii() and line.isprintable() for line in lines)


ANSWERS = {
    "project_name": "Churn",
    "google_cloud_project": "acme-ml",
    "regions": 'us-central1", "us-east4',
    "bucket": "acme-ml-training",
    "project_slug": "churn",
    "_machines": "g2-standard-8",
    "gpu": "NVIDIA_L4",
    "supervisor": "cloud-run",
}


def test_with_github_the_interval_is_what_github_delivers_and_cloud_run_has_no_job() -> None:
    settings = parse(changed("cloud.supervisor", '"github"'), "spot.toml")
    assert settings.policy_config().reconcile_interval == timedelta(hours=5)
    assert settings.cloud.supervisor_job is None


@pytest.mark.parametrize(
    ("prefix", "name"), [("churn", "churn"), ("ml/Churn_2.x", "ml-churn-2-x"), ("a" * 200, "a" * 40), ("a./-b", "a-b")]
)
def test_the_job_of_cloud_run_has_the_name_of_the_prefix(prefix: str, name: str) -> None:
    cloud = parse(GOOD, "spot.toml").cloud.model_copy(update={"prefix": prefix})
    assert cloud.supervisor_job
    assert cloud.supervisor_job.path == f"projects/acme-ml/locations/us-central1/jobs/spot-{name}"


def test_the_projects_own_settings_have_no_mistakes() -> None:
    text = (PROJECT / "spot.toml").read_text(encoding="utf-8")
    rendered = re.sub(r"<{2} cookiecutter\.(\w+).*? >>", lambda tag: ANSWERS[tag[1]], text)  # in place it has tags

    settings = parse(rendered, "spot.toml", config=task_config(PROJECT / "task" / "config.py"))

    assert tomllib.loads(text).keys() == {"name", *TABLES, "model", "training"}
    assert timedelta(hours=settings.policy.deadline_hours) > settings.policy_config().work


def documented() -> dict[str, str]:
    """Return the default of each key in docs/settings.md."""
    text = (PROJECT / "docs/settings.md").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^\| `([^`]+)` \|.*\| ([^|]+) \|$", text))


def written(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return f'`"{field.default}"`' if isinstance(field.default, str) else f"`{str(field.default).lower()}`"


def test_every_key_is_documented_with_its_default_and_no_other() -> None:
    keys = {"name": Settings.model_fields["name"]}
    keys |= {f"{table}.{name}": field for table, model in TABLES.items() for name, field in model.model_fields.items()}

    assert documented() == {name: written(field) for name, field in keys.items()}


def test_every_reserved_flag_is_documented() -> None:
    text = (PROJECT / "docs/settings.md").read_text(encoding="utf-8")

    assert {flag for flag in RESERVED if f"`{flag}`" not in text} == set()


def test_settings_are_read_without_the_libraries_of_the_cloud() -> None:
    heavy = {"google.auth", "google.cloud.aiplatform_v1", "google.cloud.storage", "requests", "torch"}
    code = f"import sys, spot.config.load; print({heavy} & set(sys.modules))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "set()"
