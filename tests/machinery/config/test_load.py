"""Test that all mistakes are reported at once, each in a line with key, value and what is allowed."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.config.load import TABLES, SettingsError, check
from spot.config.training import RESERVED
from tests.machinery.spot_toml import GOOD, changed


def mistakes_of(document: dict[str, object]) -> tuple[str, ...]:
    try:
        check(document, "x")
    except SettingsError as error:
        return tuple(line.removeprefix("x: ") for line in error.lines)
    return ()


def mistakes(text: str) -> tuple[str, ...]:
    return mistakes_of(tomllib.loads(text))


def mistakes_with(key: str, value: str) -> tuple[str, ...]:
    """Return the mistakes after `key` is set to `value`, written as TOML."""
    return mistakes(changed(key, value))


def test_good_settings_have_no_mistakes() -> None:
    assert mistakes(GOOD) == ()


WRONG = [
    ("name", '""', "''", "1 to 60 letters"),
    ("name", "7", "7", "1 to 60 letters"),
    ("name", '"-x"', "'-x'", "1 to 60 letters"),
    ("cloud.project", '"My_Project"', "'My_Project'", "6 to 30 of a-z"),
    ("cloud.project", "true", "true", "6 to 30 of a-z"),
    ("cloud.project", '"project-"', "'project-'", "no - last"),
    ("cloud.regions", '"us-central1"', "'us-central1'", "a list of 1 to 20 regions"),
    ("cloud.regions", "[]", "[]", "a list of 1 to 20 regions"),
    ("cloud.regions", str([f"us-central{n}" for n in range(21)]), "['us-central0'", "a list of 1 to 20 regions"),
    ("cloud.regions", '["us-east4", "us-west1", "us-east4"]', "['us-east4'", "each region once"),
    ("cloud.bucket", '"gs://bucket"', "'gs://bucket'", "no gs://"),
    ("cloud.bucket", '"ab"', "'ab'", "3 to 63 of a-z"),
    ("cloud.bucket", '"a..b"', "'a..b'", "3 to 63 of a-z"),
    ("cloud.bucket", '"bucket/folder"', "'bucket/folder'", "3 to 63 of a-z"),
    ("cloud.bucket", '"my-google-data"', "'my-google-data'", "no google"),
    ("cloud.bucket", '"goog-data"', "'goog-data'", "no google"),
    ("cloud.bucket", '"192.168.5.4"', "'192.168.5.4'", "no IP address"),
    ("cloud.prefix", '""', "''", "1 to 200"),
    ("cloud.prefix", '"/churn"', "'/churn'", "none at the ends"),
    ("cloud.prefix", '"churn/"', "'churn/'", "none at the ends"),
    ("cloud.prefix", '"a/../b"', "'a/../b'", "a letter or digit first"),
    ("cloud.service_account", '"me@example.com"', "'me@example.com'", "e-mail address of a service account"),
    ("cloud.service_account", '"training"', "'training'", "e-mail address"),
    ("cloud.image", '"trainer"', "'trainer'", "HOST/PATH"),
    ("cloud.image", '"h.dev/p/r/t@sha256:abc"', "'h.dev/p/r/t@sha256:abc'", "64 hexadecimal digits"),
    ("cloud.image", '"h.dev/p q"', "'h.dev/p q'", "HOST/PATH"),
    ("cloud.supervisor", '"laptop"', "'laptop'", '"cloud-run" or "github"'),
    ("machine.type", '"g2"', "'g2'", "a machine type of Compute Engine"),
    ("machine.type", '"G2-Standard-8"', "'G2-Standard-8'", "a machine type of Compute Engine"),
    ("machine.accelerator", '"nvidia_l4"', "'nvidia_l4'", "a GPU by its name in Vertex AI"),
    ("machine.accelerator", '"TPU_V3"', "'TPU_V3'", "a GPU by its name in Vertex AI"),
    ("machine.accelerator", '"none"', "'none'", "g2-standard-8 goes with NVIDIA_L4"),
    ("machine.accelerator", '"NVIDIA_TESLA_T4"', "'NVIDIA_TESLA_T4'", "g2-standard-8 goes with NVIDIA_L4"),
    ("machine.count", "0", "0", "a whole number from 1 to 100"),
    ("machine.count", "101", "101", "a whole number from 1 to 100"),
    ("machine.count", '"2"', "'2'", "from 1 to 100, without quotes"),
    ("machine.accelerator_count", "0", "0", "a whole number from 1 to 16"),
    ("machine.accelerator_count", "1.0", "1.0", "a whole number from 1 to 16"),
    ("machine.accelerator_count", "true", "true", "a whole number from 1 to 16"),
    ("machine.accelerator_count", '"1"', "'1'", "from 1 to 16, without quotes"),
    ("machine.accelerator_count", "2", "2", "g2-standard-8 has 1"),
    ("machine.boot_disk_type", '"PD"', "'PD'", "pd-ssd"),
    ("machine.boot_disk_gb", "99", "99", "from 100 to 64000"),
    ("machine.boot_disk_gb", "64001", "64001", "from 100 to 64000"),
    ("policy.strategy", '"cheap"', "'cheap'", "one of hybrid, spot, on-demand"),
    ("policy.strategy", "[]", "[]", "one of hybrid, spot, on-demand"),
    ("policy.deadline_hours", "0", "0", "from 0.01 to 8760"),
    ("policy.deadline_hours", "nan", "nan", "from 0.01 to 8760"),
    ("policy.deadline_hours", "inf", "inf", "from 0.01 to 8760"),
    ("policy.work_hours", "-1", "-1", "from 0.01 to 8760"),
    ("policy.work_hours", "1e-9", "1e-09", "from 0.01 to 8760"),
    ("policy.work_hours", '"4"', "'4'", "without quotes"),
    ("policy.work_hours", "2026-07-30", "datetime.date(2026, 7, 30)", "from 0.01 to 8760"),
    ("policy.hand_over", '"warm"', "'warm'", "true or false"),
    ("policy.flex_start", '"false"', "'false'", "true or false, without quotes"),
    ("policy.flex_start", "1", "1", "true or false"),
    ("policy.provisioning_timeout_minutes", "0", "0", "from 0.01 to 10080"),
    ("policy.expected_start_minutes", "false", "false", "from 0.01 to 10080"),
    ("policy.worst_start_minutes", "20000", "20000", "from 0.01 to 10080"),
    ("policy.reconcile_interval_minutes", "0", "0", "from 0.01 to 10080"),
    ("policy.max_checkpoint_interval_minutes", "0", "0", "from 0.01 to 10080"),
    ("policy.save_seconds", '"none"', "'none'", '"unknown", or a number'),
    ("policy.reserve_minutes", "-1", "-1", "from 0.01 to 10080"),
    ("policy.max_preemptions", '"none"', "'none'", '"unlimited", or a whole number'),
    ("policy.max_preemptions", "-1", "-1", '"unlimited", or a whole number'),
    ("policy.max_errors", "1.5", "1.5", "a whole number"),
    ("policy.max_errors", '"unlimited"', "'unlimited'", "a whole number"),
    ("policy.vertex_restarts", "0", "0", "true or false"),
    ("policy.budget_usd", "0", "0", '"none", or a number'),
    ("policy.budget_usd", '"unlimited"', "'unlimited'", '"none", or a number'),
    ("data.min_objects", "-1", "-1", "a whole number"),
    ("data.min_bytes", "1e9", "1000000000.0", "a whole number from 0 to 10^18"),
    ("data.max_age_hours", "0", "0", '"none", or a number'),
    ("data.min_share_of_last_run", "50", "50", "a number from 0 to 1"),
    ("gate.margin", "0", "0", "a number above 0"),
    ("gate.margin", "inf", "inf", "a number above 0"),
    ("gate.margin", '"0.01"', "'0.01'", "a number above 0, without quotes"),
    ("gate.threshold", "nan", "nan", '"none", or a number'),
    ("gate.threshold", '"90 %"', "'90 %'", '"none", or a number'),
    ("registry.model_id", '"Churn"', "'Churn'", '"none", or 1 to 63 of a-z'),
    ("registry.serving_image", '"server"', "'server'", '"none", or HOST/PATH'),
    ("training.epochs", "[20]", "[20]", "a text, a number, true or false"),
    ("training.epochs", "inf", "inf", "a number that is finite"),
    ("training.data", '""', "''", "1 to 1000 printable characters"),
    ("training.data", '"a\\nb"', r"'a\nb'", "printable characters on one line"),
    ("training.data", '"--run"', "'--run'", 'gs://BUCKET/OBJECT, gs://BUCKET/PREFIX/, or "sample"'),
    ("training.data", '"table.csv"', "'table.csv'", 'gs://BUCKET/OBJECT, gs://BUCKET/PREFIX/, or "sample"'),
    ("training.data", "7", "7", 'gs://BUCKET/OBJECT, gs://BUCKET/PREFIX/, or "sample"'),
    ("training.enable-checkpointing", "false", "false", "only with policy.strategy on-demand"),
    ("training.enable-checkpointing", '"false"', "'false'", "only with policy.strategy on-demand"),
    (
        "training.checkpoint-interval",
        "601",
        "601",
        "at most 600 seconds, or raise policy.max_checkpoint_interval_minutes",
    ),
    ("training.checkpoint-interval", '"601"', "'601'", "at most 600 seconds"),
    *((f"training.{flag}", '"x"', "'x'", "not allowed here, because the supervisor sets it") for flag in RESERVED),
]


@pytest.mark.parametrize(("key", "value", "seen", "allowed"), WRONG)
def test_a_wrong_value_is_named_with_what_is_allowed(key: str, value: str, seen: str, allowed: str) -> None:
    [line] = mistakes_with(key, value)

    assert line.startswith(f"{key} is {seen}")
    assert allowed in line


def test_every_key_has_its_row_among_the_wrong_values() -> None:
    assert {"name", *(f"{table}.{key}" for table, model in TABLES.items() for key in model.model_fields)} <= {
        row[0] for row in WRONG
    }


RIGHT = [
    ("name", '"Ma pr\u00e9vision no. 2"'),
    ("cloud.regions", '["europe-west12"]'),
    ("cloud.bucket", '"team.models_2026-a"'),
    ("cloud.prefix", '"team/churn-v1.2_b"'),
    ("cloud.service_account", '"123-compute@developer.gserviceaccount.com"'),
    ("cloud.image", '"us-central1-docker.pkg.dev/p/repo/trainer"'),
    ("cloud.image", '"us-central1-docker.pkg.dev/p/repo/trainer:v1.2"'),
    ("cloud.image", f'"127.0.0.1:5000/trainer:v1@sha256:{"0a" * 32}"'),
    ("machine.boot_disk_gb", "100"),
    ("machine.boot_disk_type", '"hyperdisk-balanced"'),
    ("machine.boot_disk_gb", "64000"),
    ("policy.deadline_hours", "8760"),
    ("policy.work_hours", "0.01"),
    ("policy.max_preemptions", "0"),
    ("policy.max_preemptions", '"unlimited"'),
    ("policy.budget_usd", "12.5"),
    ("training.checkpoint-interval", "600"),
    ("training.checkpoint-interval", '"auto"'),
    ("training.log-interval", "1e-5"),
    ("training.data", '"sample"'),
    ("training.data", '"gs://bucket/\u9810\u6e2c.safetensors"'),
]


@pytest.mark.parametrize(("key", "value"), RIGHT)
def test_an_unusual_but_right_value_is_accepted(key: str, value: str) -> None:
    assert mistakes_with(key, value) == ()


@pytest.mark.parametrize(("item", "seen"), [('"us-central1-a"', "'us-central1-a'"), ("7", "7"), ("{}", "{}")])
def test_a_wrong_item_of_a_list_is_named_by_its_index(item: str, seen: str) -> None:
    assert mistakes_with("cloud.regions", f'["us-east4", {item}]') == (
        f'cloud.regions[1] is {seen}: a list of 1 to 20 regions, not zones, as in ["us-central1", "us-east4"]',
    )


def test_on_demand_a_run_may_go_without_checkpoints() -> None:
    on_demand = changed("policy.strategy", '"on-demand"')

    assert mistakes(changed("training.enable-checkpointing", "false", on_demand)) == ()


def test_a_longer_interval_goes_with_a_greater_loss() -> None:
    assert (
        mistakes(
            changed("policy.max_checkpoint_interval_minutes", "20", changed("training.checkpoint-interval", "1200"))
        )
        == ()
    )


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("cloud.region", "cloud.region is not a setting: did you mean cloud.regions?"),
        ("machine.acelerator", "machine.acelerator is not a setting: did you mean machine.accelerator?"),
        ("policy.bucket", "policy.bucket is not a setting: did you mean cloud.bucket?"),
        ("clout.x", "clout is not a setting: did you mean cloud?"),
        (
            "zzz",
            "zzz is not a setting: known here are name, cloud, machine, policy, data, gate, registry, model, training",
        ),
        ("project", "project is not a setting: did you mean cloud.project?"),
        ("training.batch_size", "training.batch_size is not a flag of the trainer: did you mean batch-size?"),
        ("training.zzz", "training.zzz is not a flag of the trainer: python -m task --help lists the flags"),
        ("training.Epochs", "training.Epochs is not a flag of the trainer: did you mean epochs?"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key: str, said: str) -> None:
    [line] = mistakes_with(key, "1")

    assert line.startswith(said)


@pytest.mark.parametrize(
    "key",
    [
        *("name", "cloud.project", "cloud.regions", "cloud.bucket", "cloud.prefix"),
        *("machine.type", "machine.accelerator", "policy.deadline_hours", "policy.work_hours"),
    ],
)
def test_a_missing_key_is_named_with_what_is_allowed(key: str) -> None:
    [line] = mistakes(changed(key, None))

    assert line.startswith(f"{key} is missing: ")
    assert len(line) > len(f"{key} is missing: ") + 10


def test_a_table_that_is_a_value_is_one_mistake() -> None:
    assert mistakes(changed("cloud", '"here"')) == ("cloud is 'here': a table, [cloud]",)
    assert mistakes(changed("training", "[1]")) == ("training is [1]: a table, [training]",)


def test_an_empty_document_lacks_every_key_without_a_default() -> None:
    assert len(mistakes("")) == 9


def test_all_mistakes_come_at_once() -> None:
    text = changed("cloud.project", "7")
    for key, value in (("cloud.regions", '["x", "y"]'), ("policy.work_hours", None), ("policy.zzz", "1"), ("rum", "1")):
        text = changed(key, value, text)

    keys = [line.split(" ")[0] for line in mistakes(text)]

    assert keys == ["cloud.project", "cloud.regions[0]", "cloud.regions[1]", "policy.work_hours", "policy.zzz", "rum"]


HOSTILE = {
    "newline": '"a\\nb"',
    "newline at the end": '"us-central1\\n"',
    "carriage return": '"a\\rb"',
    "null": '"a\\u0000b"',
    "escape": '"\\u001b[31m"',
    "line separator": '"\\u2028"',
    "emoji": '"\N{ROCKET} "',
    "digits of another script": '"\N{ARABIC-INDIC DIGIT ONE}! "',
    "far too long": '"-' + "a" * 100_000 + '"',
    "shell": '"$(touch /x) "',
    "a number without end": "0x" + "f" * 10_000,
    "tables without end": "{" + "a." * 2000 + "a = 1}",
    "lists of them": "[{" + "a." * 2000 + "a = 1}, {" + "a." * 2000 + "a = 1}]",
}


@pytest.mark.parametrize(
    "key", ["name", *(f"{table}.{key}" for table, model in TABLES.items() for key in model.model_fields)]
)
def test_hostile_values_are_shown_short_and_escaped_on_one_line(key: str) -> None:
    for name, value in HOSTILE.items():
        for line in mistakes_with(key, value) or pytest.fail(f"{name} was accepted"):
            assert line.startswith((key, "its values are nested too deep"))
            assert line.isascii()
            assert line.isprintable()
            assert len(line) < 300


@pytest.mark.parametrize("name", ['"a\\nb"', '"\\u001b[31m"', '"' + "a" * 100_000 + '"', '"\N{ROCKET}"', '""'])
@pytest.mark.parametrize("table", ["", "cloud.", "model.", "training."])
def test_hostile_names_are_shown_short_and_escaped_on_one_line(table: str, name: str) -> None:
    [line] = mistakes(f"{name} = 1\n{GOOD}" if not table else changed(f"{table}{name}", "1"))

    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 300


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [*TABLES, "name", "model", "training", *(key for model in TABLES.values() for key in model.model_fields)]
) | st.text(max_size=5)


@given(st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=4), max_size=6))
def test_any_document_is_checked_and_every_line_is_plain(document: dict[str, object]) -> None:
    for line in mistakes_of(document):
        assert line.isascii()
        assert line.isprintable()
