"""Refuse wrong answers before anything is written: all at once, one line each."""

import json
import re
import sys
from collections.abc import Callable, Mapping

NAME = re.compile(r"\w(?:[\w .,-]{0,58}[\w.])?")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
CLOUD_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
REGION = re.compile(r"[a-z]{2,20}-[a-z]{4,20}[0-9]{1,2}")
BUCKET = re.compile(
    r"(?!goog)(?!.*google)(?!.*\.\.)(?![0-9]+\.[0-9]+\.[0-9]+\.[0-9]+\Z)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
)

SUPERVISORS = ("cloud-run", "github")
MAX_REGIONS = 20
MAX_CRON = 100

WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CRON_FIELDS = (  # name, least value, greatest value, names of values
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 6, WEEKDAYS),
)
CRON_ITEM = re.compile(r"(?:\*|([0-9]{1,2}|[A-Z]{3})(?:-([0-9]{1,2}|[A-Z]{3}))?)(?:/([0-9]{1,2}))?")


def wrong_name(name: str) -> str | None:
    if NAME.fullmatch(name):
        return None
    return "1 to 60 letters, digits, spaces and . , - _, from a letter or digit to a letter, digit or ."


def wrong_slug(slug: str) -> str | None:
    if SLUG.fullmatch(slug):
        return None
    return "1 to 40 lower-case letters, digits and hyphens, no hyphen first or last"


def wrong_cloud_project(project: str) -> str | None:
    if CLOUD_PROJECT.fullmatch(project):
        return None
    return "a project id: 6 to 30 lower-case letters, digits and hyphens, a letter first, no hyphen last"


def wrong_regions(regions: str) -> str | None:
    names = [name.strip(" ") for name in regions.split(",")]
    if len(names) > MAX_REGIONS or not all(map(REGION.fullmatch, names)):
        return f"1 to {MAX_REGIONS} regions, comma separated, each like us-central1 (a region, not a zone)"
    if len(set(names)) < len(names):
        return "each region once"
    return None


def wrong_bucket(bucket: str) -> str | None:
    if BUCKET.fullmatch(bucket):
        return None
    return (
        "the bucket's name without gs://: 3 to 63 lower-case letters, digits, - _ and ., "
        "from a letter or digit to a letter or digit; not an IP address, no google in it"
    )


def wrong_schedule(schedule: str) -> str | None:
    fields = schedule.split(" ")
    if len(schedule) > MAX_CRON or len(fields) != len(CRON_FIELDS):
        return "five fields, one space between: minute, hour, day of the month, month, weekday, as in 17 3 * * 1"
    for field, (name, least, greatest, names) in zip(fields, CRON_FIELDS, strict=True):
        if not all(is_cron_item(item, least, greatest, names) for item in field.split(",")):
            spelled = f" or {names[0]} to {names[-1]}" if names else ""
            return f"a {name} is {least} to {greatest}{spelled}, *, a range a-b, a step */n, or a list of these"
    return None


def is_cron_item(item: str, least: int, greatest: int, names: tuple[str, ...]) -> bool:
    match = CRON_ITEM.fullmatch(item)
    if match is None:
        return False
    first, last, step = match.groups()
    ends = [cron_value(part, least, names) for part in (first, last) if part]
    in_range = all(least <= end <= greatest for end in ends) and ends == sorted(ends)
    return in_range and (step is None or 1 <= int(step) <= greatest)


def cron_value(part: str, least: int, names: tuple[str, ...]) -> int:
    if part in names:
        return names.index(part) + least
    return int(part) if part.isdecimal() else -1


RULES: Mapping[str, Callable[[str], str | None]] = {
    "project_name": wrong_name,
    "project_slug": wrong_slug,
    "google_cloud_project": wrong_cloud_project,
    "regions": wrong_regions,
    "bucket": wrong_bucket,
    "schedule": wrong_schedule,
}


def shown(value: str) -> str:
    """Return the answer in plain ASCII on one short line."""
    quoted = ascii(value)
    return quoted if len(quoted) <= 60 else f"{quoted[:50]}... ({len(value)} characters)"


def refusals(answers: Mapping[str, object]) -> list[str]:
    """Return a line for each wrong answer: name, value, what is allowed."""
    lines = []
    for name, rule in RULES.items():
        value = str(answers[name])
        allowed = rule(value)
        if allowed:
            lines.append(f"{name} is {shown(value)}: {allowed}")
    machines = answers["_machines"]
    if isinstance(machines, dict) and answers["gpu"] not in machines:
        lines.append(f"gpu is {shown(str(answers['gpu']))}: one of {', '.join(machines)}")
    lines += filter(None, [outside(str(answers["gpu"]), str(answers["regions"]), answers["_regions"])])
    if answers["supervisor"] not in SUPERVISORS:
        lines.append(f"supervisor is {shown(str(answers['supervisor']))}: one of {', '.join(SUPERVISORS)}")
    return lines


def outside(gpu: str, regions: str, table: object) -> str | None:
    """Return a line for regions in which Vertex AI has no such GPU."""
    if gpu == "none" or not isinstance(table, dict) or gpu not in table or wrong_regions(regions):
        return None
    there = table[gpu].split(",")
    lacking = [name for part in regions.split(",") if (name := part.strip(" ")) not in there]
    if not lacking:
        return None
    return f"regions is {shown(regions)}: {', '.join(lacking)} has no {gpu}, these have: {', '.join(there)}"


def main(answers: Mapping[str, object]) -> int:
    lines = refusals(answers)
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    context = r"""<< cookiecutter | jsonify >>"""
    if not context.startswith("{"):
        sys.exit("This template needs cookiecutter 2.6 or newer: pip install -U cookiecutter")
    sys.exit(main(json.loads(context)))
