"""Check that the quota of each region allows the GPUs and vCPUs of an attempt, on spot and on demand."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from spot.config.settings import Settings
from spot.core.run import Machine, Provisioning
from spot.doctor.finding import Finding, failed, find, ok, unknown
from spot.google.machine_types import cpu_quota, gpu_quota, quota_id, vcpus
from spot.google.rest import GoogleApi

SERVICE = "aiplatform.googleapis.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Hold what the machines of an attempt need of a quota."""

    metric: str
    what: str
    amount: int | None
    """None if unknown."""


def name(provisioning: Provisioning) -> str:
    return f"{provisioning} quota"


def needs(machine: Machine, provisioning: Provisioning) -> tuple[Need, ...]:
    """Return the needs, GPUs first. Machines with GPUs need vCPU quota too."""
    on_demand, each = provisioning is Provisioning.ON_DEMAND, vcpus(machine.type)
    metric = cpu_quota(machine.type, on_demand=on_demand)
    cpus = Need(metric=f"{SERVICE}/{metric}", what="vCPUs", amount=each and each * machine.count)
    if not machine.accelerator:
        return (cpus,)
    metric, amount = gpu_quota(machine.accelerator, on_demand=on_demand), machine.count * machine.accelerator_count
    return (Need(metric=f"{SERVICE}/{metric}", what=machine.accelerator, amount=amount), cpus)


def limit(metric: Mapping[str, Any], region: str) -> float | None:
    """Return the limit of a ConsumerQuotaMetric in the region, `inf` if unlimited, None if not stated."""
    limits = [found for one in metric.get("consumerQuotaLimits", ()) if (found := _of_buckets(one, region)) is not None]
    return min(limits, default=None)


def check(api: GoogleApi, settings: Settings, provisioning: Provisioning) -> list[Finding]:
    """Return a finding for each need and region. Raise `GoogleApiError` without an answer of Service Usage."""
    found = []
    for need in needs(settings.machine(), provisioning):
        metric = _metric(api, settings.cloud.project, need.metric)
        found += [
            _region(f"{name(provisioning)} {region}, {need.what}", need, limit(metric, region), region, settings)
            for region in settings.cloud.regions
        ]
    return found


def _of_buckets(consumer_limit: Mapping[str, Any], region: str) -> float | None:
    """Return the limit of the region's own bucket, else of the default bucket without dimensions."""
    by_dimensions = {
        tuple(sorted(bucket.get("dimensions", {}).items())): bucket for bucket in consumer_limit.get("quotaBuckets", ())
    }
    bucket = by_dimensions.get((("region", region),)) or by_dimensions.get(())
    if bucket is None:
        return None
    value = int(bucket.get("effectiveLimit", 0))  # Google's JSON may omit a zero
    return math.inf if value < 0 else value


def _metric(api: GoogleApi, project: str, metric: str) -> Mapping[str, Any]:
    """Return the metric, empty if it does not exist."""
    path = (
        f"v1beta1/projects/{quote(project, safe='')}/services/{SERVICE}/consumerQuotaMetrics/{quote(metric, safe='')}"
    )
    return find(api, "serviceusage", path) or {}


def _region(check: str, need: Need, allowed: float | None, region: str, settings: Settings) -> Finding:
    project = settings.cloud.project
    if allowed is None or need.amount is None:
        page = f"open https://console.cloud.google.com/iam-admin/quotas?project={project}, filter by region:{region}"
        fix = f"{page}, and check that it allows {need.amount or 'enough'} of {need.metric}"
        said = "is not stated" if allowed is None else f"is {allowed:g}, and the need of an attempt is unknown"
        return unknown(check, f"the limit of {need.metric} {said}", fix)
    detail = f"{'no limit' if math.isinf(allowed) else f'limit {allowed:g}'}, an attempt needs {need.amount}"
    if allowed >= need.amount:
        return ok(check, detail)
    request = (
        f"gcloud beta quotas preferences create --service={SERVICE} --project={project}"
        f" --quota-id={quota_id(need.metric.partition('/')[2])} --preferred-value={need.amount}"
        f" --dimensions=region={region} --email=YOUR-ADDRESS"
    )
    return failed(check, detail, f"{request}  # or remove {region} from [cloud] regions")
