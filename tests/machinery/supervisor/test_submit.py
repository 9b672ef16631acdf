"""Test that a run starts with all inputs pinned, and only if its deadline and budget can be kept."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from typing import Any

import pytest
import requests
from urllib3 import Retry

from spot.core.run import Provisioning, Strategy
from spot.emulators.faults import Method
from spot.promotion import settle
from spot.storage.factory import open_store
from spot.storage.records import dataset
from spot.supervisor import data_checks
from spot.supervisor.submit import SubmitError, new_id, plan
from tests.machinery import samples
from tests.machinery.desk import DIGEST, IMAGE, WEEKLY, Desk, unreachable_url
from tests.machinery.google.google_project import google_project
from tests.machinery.google.google_server import Answer, refusal
from tests.machinery.storage.completed import complete
from tests.paths import PROJECT

TAG = "us-central1-docker.pkg.dev/my-project/images/trainer:v1"


def request_of(desk: Desk, *arguments: str) -> Any:
    """What a dry run says that it would send."""
    said = desk.spot("submit", "--run", WEEKLY, "--dry-run", "--json", *arguments)
    assert said.code == 0, said.err
    return said.json["request"]


def trainer_flags(request: dict[str, Any]) -> dict[str, str]:
    args = request["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"]
    return dict(zip(args[::2], args[1::2], strict=True))


def refused(desk: Desk, *arguments: str) -> str:
    """The one line that says why, nothing having been done."""
    said = desk.spot("submit", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert (desk.objects(), desk.server.calls) == ([], [])
    return said.err.removeprefix("spot: ").rstrip()


def test_a_dry_run_shows_the_exact_request_and_touches_nothing(desk: Desk) -> None:
    request = request_of(desk)
    assert request["labels"].items() >= {"run": WEEKLY, "attempt": "a1"}.items()
    assert request["jobSpec"]["scheduling"] == {"strategy": "SPOT", "timeout": "604800s", "disableRetries": True}
    assert request["jobSpec"]["serviceAccount"] == "training@acme-ml.iam.gserviceaccount.com"
    assert trainer_flags(request) == {
        "--run": WEEKLY,
        "--attempt": "a1",
        "--output-dir": f"{desk.root}/models",
        "--checkpoint-dir": f"{desk.root}/checkpoints",
        "--tensorboard-dir": f"{desk.root}/tensorboard",
        "--device": "cuda",
        "--epochs": "20",
        "--data": "sample",
        "--patience": "5",
        "--enable-checkpointing": "true",
        "--checkpoint-interval": "auto",
    }
    assert desk.objects() == []
    assert desk.server.calls == []


def test_what_a_dry_run_shows_is_what_is_created(desk: Desk) -> None:
    request = request_of(desk)
    desk.submit(WEEKLY)
    created = next(call for call in desk.server.calls if call.method is Method.CREATE)
    assert created.request is not None
    assert created.request.labels == request["labels"]
    assert created.request.spec["workerPoolSpecs"][0]["containerSpec"]["args"] == [
        item for pair in trainer_flags(request).items() for item in pair
    ]


def test_a_dry_run_for_people_has_the_same_request_below_the_plan(desk: Desk) -> None:
    request = request_of(desk)
    shown = desk.spot("submit", "--run", WEEKLY, "--dry-run").out
    above, _, below = shown.partition("the request: POST projects/acme-ml/locations/us-east4/customJobs\n")
    assert json.loads(below) == request
    for line in ("first ", "deadline ", "on-demand ", "price "):
        assert f"\n{line}" in above


@pytest.mark.parametrize(
    ("arguments", "strategy", "region"),
    [
        (["--strategy", "spot"], "SPOT", "us-east4"),
        (["--strategy", "on-demand"], "STANDARD", "us-east4"),
        (["--regions", "us-central1, us-west1"], "SPOT", "us-central1"),
    ],
)
def test_flags_of_submit_go_over_the_settings(desk: Desk, arguments: list[str], strategy: str, region: str) -> None:
    said = desk.spot("submit", "--dry-run", *arguments)
    assert f'"strategy": "{strategy}"' in said.out
    assert f"locations/{region}/customJobs" in said.out


def test_the_deadline_counts_from_now(desk: Desk) -> None:
    desk.submit(WEEKLY, "--deadline-hours", "5", "--work-hours", "2")
    run = desk.run(WEEKLY)
    assert run.spec.deadline - run.submitted_at == timedelta(hours=5)
    assert run.spec.policy.work == timedelta(hours=2)


def test_flags_of_the_trainer_go_over_those_of_the_settings(desk: Desk) -> None:
    flags = trainer_flags(request_of(desk, "--", "--epochs", "3", "--seed=5"))
    assert (flags["--epochs"], flags["--seed"], flags["--patience"]) == ("3", "5", "5")


def test_a_run_keeps_the_settings_it_was_submitted_with(desk: Desk) -> None:
    desk.submit(WEEKLY)
    before = desk.run(WEEKLY).spec
    desk.settings({"training.epochs": "99", "policy.deadline_hours": "1", "cloud.image": '""'})
    assert desk.spot("reconcile").code == 75
    assert desk.run(WEEKLY).spec == before
    assert "--epochs" in before.arguments
    assert before.image == IMAGE


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("--run x", "not allowed here, because the supervisor sets it for every attempt"),
        ("--resume auto", "not allowed here, because the supervisor sets it for every attempt"),
        ("--output-dir=gs://b/o", "not allowed here, because the supervisor sets it for every attempt"),
        ("--epochs", "expected flags with values, as in -- --epochs 30"),
        ("epochs 3", "expected flags with values, as in -- --epochs 30"),
        ("--Epochs 3", "did you mean epochs?"),
        ("--epochs --patience", "expected one argument"),
        ("--epochs=", "1 to 1000 printable characters on one line"),
        ("--epoch 3", "not a flag of the trainer: did you mean epochs?"),
        ("--zzz 3", "not a flag of the trainer: python -m task --help lists the flags"),
        ("--data table.csv", 'gs://BUCKET/OBJECT, gs://BUCKET/PREFIX/, or "sample"'),
        ("--enable-checkpointing false", "only with policy.strategy on-demand"),
        ("--checkpoint-interval 700", "at most 600 seconds, or raise policy.max_checkpoint_interval_minutes"),
        ("--checkpoint-interval 10m", "'10m': not a number above 0, nor auto"),
    ],
)
def test_flags_that_the_trainer_cannot_be_given_are_refused(desk: Desk, given: str, says: str) -> None:
    assert says in refused(desk, "--", *given.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--run=", "--run '': expected 1 to 63 of a-z"),
        ("--image=", "no image of the trainer (fix: give --image"),
        ("--regions=", "cloud.regions[0] is '': a list of 1 to 20 regions"),
        ("--run 20240105-old", "--run 20240105-old: expected an id that begins with a date of the last 31 days, as 20"),
        ("--run weekly", "--run weekly: expected an id that begins with a date"),
        ("--run 20269999-x", "--run 20269999-x: expected an id that begins with a date"),
        ("--run Weekly", "--run 'Weekly': expected 1 to 63 of a-z, 0-9, _ and -, first a letter or digit"),
        ("--regions us-central1-a", "cloud.regions[0] is 'us-central1-a': a list of 1 to 20 regions, not zones"),
        ("--regions us-east4,us-east4", "cloud.regions is ['us-east4', 'us-east4']: each region once"),
        ("--deadline-hours -1", "policy.deadline_hours is -1.0: a number from 0.01 to 8760"),
        ("--work-hours nan", "policy.work_hours is nan: a number from 0.01 to 8760"),
        ("--budget-usd 1e99", 'policy.budget_usd is 1e+99: "none", or a number from 0.01 to 1000000'),
        ("--image trainer", "'trainer' is not an image: expected REGISTRY/PATH:TAG"),
        ("--image docker.io/our/trainer:v1", "has a tag, and tags are resolved in Artifact Registry only"),
        ("--image a.pkg.dev/t@sha256:12", "has an invalid digest"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(desk: Desk, arguments: str, says: str) -> None:
    assert says in refused(desk, *arguments.split())


def test_without_an_image_nothing_begins(desk: Desk) -> None:
    desk.settings({"cloud.image": '""'})
    assert refused(desk).startswith("no image of the trainer (fix: give --image, or set cloud.image")


def test_an_image_by_tag_is_pinned_to_its_digest(desk: Desk) -> None:
    desk.settings({"cloud.project": '"my-project"'})
    with google_project():
        request = request_of(desk, "--image", TAG)
    image = request["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["imageUri"]
    assert image == f"{TAG.removesuffix(':v1')}@{DIGEST}"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(status=404), f"image {TAG} does not exist (fix: push it first, or check its name)"),
        (refusal(403, "no"), "ask for roles/artifactregistry.reader"),
        (Answer(), "as the digest of"),
    ],
)
def test_an_image_by_tag_that_cannot_be_pinned_is_refused(desk: Desk, answer: Answer, says: str) -> None:
    with google_project() as google:
        google.everywhere = answer
        assert says in refused(desk, "--image", TAG)


def test_a_registry_that_does_not_answer_may_be_asked_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_ENDPOINT", unreachable_url())
    monkeypatch.setattr("spot.google.rest.RETRY", Retry(0))
    said = desk.spot("submit", "--image", TAG)
    assert said.code == 75
    assert said.err.startswith(f"spot: cannot look up image {TAG}: no answer from")
    assert said.err.endswith(" (nothing is lost, try again)\n")
    assert desk.objects() == []


@pytest.mark.parametrize("below", ["train.npz", "", "*.npz"])
def test_data_in_the_bucket_are_pinned_to_their_generations_and_the_trainer_gets_the_record(
    desk: Desk, below: str
) -> None:
    generation = desk.put("data/train.npz", b"1")
    uri = f"{desk.root}/data/{below}"
    pinned = trainer_flags(request_of(desk, "--", "--data", uri))["--data"]
    assert desk.objects() == ["data/train.npz"]
    desk.submit(WEEKLY, "--", "--data", uri)
    found = dataset.read(pinned)
    assert (found.uri, [one.generation for one in found.objects]) == (uri, [generation])
    assert f"{desk.root}/{desk.run(WEEKLY).spec.dataset}" == pinned
    assert desk.run(WEEKLY).spec.arguments[:2] == ("--epochs", "20")
    assert ("--data", uri) in zip(*(desk.run(WEEKLY).spec.arguments[i::2] for i in (0, 1)), strict=True)


def test_a_run_on_the_data_of_an_earlier_run_names_its_record(desk: Desk) -> None:
    desk.put("data/train.npz", b"1")
    desk.submit(WEEKLY, "--", "--data", f"{desk.root}/data/")
    record = str(desk.run(WEEKLY).spec.dataset)
    desk.put("data/more.npz", b"2")
    request = request_of(desk, "--", "--data", f"{desk.root}/{record}")
    assert trainer_flags(request)["--data"] == f"{desk.root}/{record}"


def in_use(desk: Desk, run: str) -> str:
    """Put the model of a run in use, and return what a submit pins of it."""
    models = open_store(f"{desk.root}/models")
    complete(models, run, samples.T0)
    now = settle.promote(desk.store(), models, run, samples.T0, by="a person", reason="the first").now
    assert now
    return f"{models.uri}/{now.pin}"


def test_the_model_in_use_is_pinned_by_its_files(desk: Desk) -> None:
    assert "--champion" not in trainer_flags(request_of(desk))
    pinned = in_use(desk, "20261101-first")
    assert pinned.startswith(f"{desk.root}/models/20261101-first#")
    assert trainer_flags(request_of(desk))["--champion"] == pinned
    [found] = [one for one in desk.store().list("models/20261101-first/model/") if one.name.endswith(".safetensors")]
    desk.store().write(found.name, b"other weights", if_generation=found.generation)
    assert trainer_flags(request_of(desk))["--champion"] == pinned


def test_a_champion_that_cannot_be_read_is_a_warning(desk: Desk) -> None:
    desk.put("champion.json", b"{")
    said = desk.spot("submit", "--run", WEEKLY, "--dry-run", "--json")
    assert (said.code, "--champion" in said.out) == (0, False)
    [note] = [one for one in said.json["plan"]["warnings"] if "not compared" in one]
    assert "champion.json is not a record of promotions" in note


def test_weights_chosen_on_the_data_that_judge_them_are_a_warning_without_a_third_part(desk: Desk) -> None:
    def warned(*flags: str) -> bool:
        said = desk.spot("submit", "--run", WEEKLY, "--dry-run", "--json", "--", *flags)
        return "--patience 3 chooses the weights" in " ".join(said.json["plan"]["warnings"])

    task = desk.toml.parent / "task"
    task.mkdir()
    (task / "data.py").write_text("Data(train=..., held_out=...)")
    assert not warned("--patience", "0")
    assert warned("--patience", "3")
    (task / "data.py").write_text("Data(train=..., held_out=..., test=...)")
    assert not warned("--patience", "3")


def test_a_run_without_data_is_refused_with_both_choices(desk: Desk) -> None:
    desk.settings({"training.data": None})
    line = refused(desk)
    assert line.startswith("training.data is missing (fix: in spot.toml, set data = ")
    assert '"gs://BUCKET/OBJECT"' in line
    assert 'data = "sample"' in line
    assert trainer_flags(request_of(desk, "--", "--data", "sample"))["--data"] == "sample"


def test_a_prefix_without_objects_is_refused(desk: Desk) -> None:
    desk.put("data/train.npz", b"1")
    uri = f"{desk.root}/dat/"
    said = desk.spot("submit", "--", "--data", uri)
    assert (said.code, said.err) == (2, f"spot: --data {uri}: there are no objects below it\n")
    assert desk.server.calls == []


def test_folders_of_the_console_are_no_data(desk: Desk) -> None:
    bucket, _, prefix = f"{desk.root}/new/".removeprefix("gs://").partition("/")
    for name in (prefix, f"{prefix}more/"):
        where = f"{os.environ['STORAGE_EMULATOR_HOST']}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
        assert requests.post(where, data=b"", timeout=10).ok
    said = desk.spot("submit", "--", "--data", f"{desk.root}/new/")
    assert "there are no objects below it" in said.err


def test_a_dry_run_shows_the_settings_of_the_task_that_a_run_pins(desk: Desk) -> None:
    task = desk.toml.parent / "task"
    task.mkdir()
    shutil.copy(PROJECT / "task" / "config.py", task)
    desk.settings({"model.channels": "64"})
    words = ("--", "--model.dropout", "0.5", "--learning-rate", "0.01")
    own = {"--model.channels": "64", "--model.dropout": "0.5", "--learning-rate": "0.01", "--weight-decay": "0.01"}
    assert trainer_flags(request_of(desk, *words)).items() >= own.items()
    shown = desk.spot("submit", "--dry-run", *words).out
    assert all(f"{flag} {value}" in " ".join(shown.split()) for flag, value in own.items())
    desk.submit(WEEKLY, *words)
    pinned = desk.run(WEEKLY).spec.arguments
    assert dict(zip(pinned[::2], pinned[1::2], strict=True)).items() >= own.items()
    assert "did you mean channels?" in desk.spot("submit", "--", "--model.chanels", "3").err


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("gs://bucket/no/such/object", "--data gs://bucket/no/such/object: the object does not exist"),
        ("gs://bucket", "names no object: expected gs://bucket/path/to/object"),
        ("gs://no-such-bucket/object", "bucket gs://no-such-bucket does not exist"),
        ("gs://no-such-bucket/prefix/", "bucket gs://no-such-bucket does not exist"),
        ("gs:///", "--data gs:///: 'gs:///' names no object: expected gs://bucket/path"),
    ],
)
def test_data_that_is_not_there_is_refused(desk: Desk, uri: str, says: str) -> None:
    assert says in refused(desk, "--", "--data", uri)


def test_a_check_of_the_data_without_an_answer_may_be_repeated(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_checks, "GIVE_UP_S", 0.1)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", unreachable_url())
    said = desk.spot("submit", "--dry-run", "--", "--data", "gs://bucket/x")
    assert (said.code, said.out) == (75, "")


@pytest.mark.parametrize("strategy", ["hybrid", "on-demand"])
def test_a_deadline_that_cannot_be_met_is_refused_with_its_numbers(desk: Desk, strategy: str) -> None:
    line = refused(desk, "--deadline-hours", "3", "--work-hours", "2.8", "--strategy", strategy)
    assert "cannot be met: 2.8 h of work and up to 25 min for an on-demand start, in 3.0 h" in line
    assert line.endswith(". --force overrides this check")


def test_work_for_more_than_one_job_of_seven_days_needs_time_to_start_them_all(desk: Desk) -> None:
    line = refused(desk, "--deadline-hours", "193", "--work-hours", "192")
    assert "192.0 h of work and up to 68 min for an on-demand start, in 193.0 h" in line


def test_an_unreachable_deadline_is_accepted_with_force_and_a_warning(desk: Desk) -> None:
    said = desk.spot("submit", "--run", WEEKLY, "--deadline-hours", "1", "--force", "--json")
    assert said.code == 0
    assert "cannot be met" in said.json["plan"]["warnings"][0]
    assert desk.run(WEEKLY).attempts[0].provisioning is Provisioning.ON_DEMAND


def test_a_run_on_spot_alone_promises_no_deadline(desk: Desk) -> None:
    assert desk.spot("submit", "--deadline-hours", "1", "--strategy", "spot", "--dry-run").code == 0


def test_a_budget_is_the_timeout_of_the_first_job(desk: Desk) -> None:
    desk.submit(WEEKLY, "--budget-usd", "2")
    policy = desk.run(WEEKLY).spec.policy
    price = policy.usd_per_hour["us-east4"][Provisioning.SPOT]
    seconds = int(2 / price * 3600)
    assert request_of(desk, "--budget-usd", "2")["jobSpec"]["scheduling"]["timeout"] == f"{seconds}s"
    created = next(call for call in desk.server.calls if call.method is Method.CREATE)
    assert created.request is not None
    assert created.request.spec["scheduling"]["timeout"] == f"{seconds}s"


def test_a_budget_without_a_known_price_is_refused(desk: Desk) -> None:
    line = refused(desk, "--budget-usd", "5", "--regions", "us-central1,mars-north1")
    assert line == (
        "a budget of $5.00 cannot be enforced: no price is known for g2-standard-8 with NVIDIA_L4 in mars-north1."
        " Omit the budget, or choose other --regions"
    )


def test_a_budget_that_pays_for_nothing_is_refused(desk: Desk) -> None:
    assert "a budget of $0.01 does not pay for 60 min of work" in refused(desk, "--budget-usd", "0.01")


@pytest.mark.parametrize(
    ("strategy", "flex_start", "missing"),
    [
        (Strategy.HYBRID, False, Provisioning.ON_DEMAND),
        (Strategy.HYBRID, False, Provisioning.SPOT),
        (Strategy.HYBRID, True, Provisioning.FLEX_START),
        (Strategy.SPOT, False, Provisioning.SPOT),
        (Strategy.ON_DEMAND, False, Provisioning.ON_DEMAND),
    ],
)
def test_a_budget_needs_the_price_of_everything_that_may_run(
    strategy: Strategy, flex_start: bool, missing: Provisioning
) -> None:
    prices = {kind: 1.0 for kind in Provisioning if kind is not missing}
    run = samples.run(
        id="20261124-run",
        strategy=strategy,
        flex_start=flex_start,
        budget_usd=100.0,
        regions=("us-east4",),
        usd_per_hour={"us-east4": prices},
    )
    with pytest.raises(SubmitError, match="no price is known"):
        plan(run, force=True)


def test_without_checkpoints_it_runs_on_demand(desk: Desk) -> None:
    request = request_of(desk, "--strategy", "on-demand", "--", "--enable-checkpointing", "false")
    assert trainer_flags(request)["--enable-checkpointing"] == "false"


def test_ids_differ_within_a_second() -> None:
    ids = {new_id(samples.T0) for _ in range(50)}
    assert len(ids) > 45
    assert all(run_id.startswith("20261124-000000-") for run_id in ids)
