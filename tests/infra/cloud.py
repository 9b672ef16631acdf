"""Emulate the REST APIs of a Google Cloud project, and record every call."""

# ruff: noqa: ARG001  # every route is answered by a function of the same form

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

PROJECT, NUMBER = "acme-ml", "4711"
MUTATING = re.compile(r"POST(?!.*:getIamPolicy)|PUT|PATCH|DELETE")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """Hold a request of gcloud."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: Json

    @property
    def changes(self) -> bool:
        return MUTATING.match(f"{self.method} {self.path}") is not None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Refused(Exception):
    """Report an error of Google with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Cloud:
    """Hold every resource by its name in the API."""

    calls: list[Call] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    accounts: dict[str, Json] = field(default_factory=dict)
    buckets: dict[str, Json] = field(default_factory=dict)
    objects: list[str] = field(default_factory=list)
    """bucket/name."""
    registries: dict[str, Json] = field(default_factory=dict)
    pools: dict[str, Json] = field(default_factory=dict)
    providers: dict[str, Json] = field(default_factory=dict)
    custom_roles: dict[str, Json] = field(default_factory=dict)
    policies: dict[str, Json] = field(default_factory=dict)
    agents: set[str] = field(default_factory=set)
    """Accounts of Google's own services."""
    jobs: dict[str, Json] = field(default_factory=dict)
    schedules: dict[str, Json] = field(default_factory=dict)
    channels: dict[str, Json] = field(default_factory=dict)
    alerts: dict[str, Json] = field(default_factory=dict)
    metrics: dict[str, Json] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Names of buckets of other projects."""
    not_yet_known: int = 0
    """How often a grant still fails because a new account has not propagated."""

    def answer(self, call: Call) -> Json:
        self.calls.append(call)
        for pattern, handle in ROUTES:
            match = re.fullmatch(pattern, f"{call.method} {call.path}")
            if match is not None:
                return handle(self, call, **match.groupdict())
        raise Refused(400, f"this cloud has no {call}")

    def roles(self) -> set[tuple[str, str, str, str]]:
        """Return the granted roles as resource, role, member, condition."""
        return {
            (resource, binding["role"], member, binding.get("condition", {}).get("expression", ""))
            for resource, policy in self.policies.items()
            for binding in policy.get("bindings", [])
            for member in binding["members"]
        }


def _found(things: Mapping[str, Json], name: str) -> Json:
    if name not in things:
        raise Refused(404, f"{name} was not found")
    return things[name]


def _new(things: dict[str, Json], name: str, body: Json) -> Json:
    if name in things:
        raise Refused(409, f"{name} already exists")
    things[name] = body
    return body


def _done(name: str, response: Json | None = None) -> Json:
    return {"name": f"{name}/operations/1", "done": True, "response": response or {}}


def _project(cloud: Cloud, call: Call) -> Json:
    return {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE"}


def _services(cloud: Cloud, call: Call) -> Json:
    return {"services": [{"config": {"name": name}, "state": "ENABLED"} for name in sorted(cloud.services)]}


def _enable(cloud: Cloud, call: Call, service: str | None) -> Json:
    cloud.services.update([service] if service else call.body["serviceIds"])
    return {"name": "operations/1", "done": True}


def _make_agent(cloud: Cloud, call: Call) -> Json:
    email = f"service-{NUMBER}@gcp-sa-aiplatform.iam.gserviceaccount.com"
    cloud.agents.add(email)
    return {"name": "operations/2", "done": True, "response": {"email": email, "uniqueId": "7"}}


def _accounts(cloud: Cloud, call: Call) -> Json:
    return {"accounts": list(cloud.accounts.values())}


def _make_account(cloud: Cloud, call: Call) -> Json:
    email = f"{call.body['accountId']}@{PROJECT}.iam.gserviceaccount.com"
    name = f"projects/{PROJECT}/serviceAccounts/{email}"
    return _new(cloud.accounts, email, {"name": name, "email": email, **call.body["serviceAccount"]})


def _delete_account(cloud: Cloud, call: Call, resource: str) -> Json:
    _found(cloud.accounts, resource)
    del cloud.accounts[resource]
    cloud.policies.pop(resource, None)
    return {}


def _buckets(cloud: Cloud, call: Call) -> Json:
    return {"kind": "storage#buckets", "items": list(cloud.buckets.values())}


def _make_bucket(cloud: Cloud, call: Call) -> Json:
    if call.body["name"] in cloud.taken:
        raise Refused(409, "The requested bucket name is not available.")
    location = call.body["location"].upper()
    return _new(cloud.buckets, call.body["name"], {**call.body, "location": location, "locationType": "region"})


def _bucket(cloud: Cloud, call: Call, bucket: str) -> Json:
    return _found(cloud.buckets, bucket)


def _change_bucket(cloud: Cloud, call: Call, bucket: str) -> Json:
    _found(cloud.buckets, bucket).update(call.body)
    return cloud.buckets[bucket]


def _delete_bucket(cloud: Cloud, call: Call, bucket: str) -> Json:
    _found(cloud.buckets, bucket)
    if any(name.startswith(f"{bucket}/") for name in cloud.objects):
        raise Refused(409, "The bucket you tried to delete is not empty.")
    del cloud.buckets[bucket]
    cloud.policies.pop(bucket, None)
    return {}


def _objects(cloud: Cloud, call: Call, bucket: str) -> Json:
    prefix = call.query.get("prefix", [""])[0]
    names = [name.partition("/")[2] for name in cloud.objects if name.startswith(f"{bucket}/{prefix}")]
    items = [
        {"kind": "storage#object", "bucket": bucket, "name": name, "generation": "1", "size": "1"} for name in names
    ]
    return {"kind": "storage#objects", "items": items}


def _delete_object(cloud: Cloud, call: Call, bucket: str, name: str) -> Json:
    cloud.objects.remove(f"{bucket}/{unquote(name)}")
    return {}


def _registries(cloud: Cloud, call: Call) -> Json:
    return {"repositories": list(cloud.registries.values())}


def _make_registry(cloud: Cloud, call: Call) -> Json:
    [identifier] = call.query["repositoryId"]
    _new(cloud.registries, identifier, {**call.body, "cleanupPolicies": {}})
    return _done(f"projects/{PROJECT}/locations/us-central1", cloud.registries[identifier])


def _registry(cloud: Cloud, call: Call, registry: str) -> Json:
    return _found(cloud.registries, registry)


def _change_registry(cloud: Cloud, call: Call, registry: str) -> Json:
    _found(cloud.registries, registry).update(call.body)
    for policy in cloud.registries[registry]["cleanupPolicies"].values():
        policy["action"] = policy["action"].upper()
        if "condition" in policy:
            policy["condition"]["tagState"] = policy["condition"]["tagState"].upper()
            policy["condition"]["olderThan"] = policy["condition"]["olderThan"].replace(".0s", "s")
    return cloud.registries[registry]


def _delete_registry(cloud: Cloud, call: Call, registry: str) -> Json:
    _found(cloud.registries, registry)
    del cloud.registries[registry]
    cloud.policies.pop(registry, None)
    return _done(f"projects/{PROJECT}/locations/us-central1")


def _pools(cloud: Cloud, call: Call) -> Json:
    return {"workloadIdentityPools": list(cloud.pools.values())}


def _make_pool(cloud: Cloud, call: Call) -> Json:
    [identifier] = call.query["workloadIdentityPoolId"]
    name = f"projects/{NUMBER}/locations/global/workloadIdentityPools/{identifier}"
    _new(cloud.pools, identifier, {**call.body, "name": name, "state": "ACTIVE"})
    return _done(name)


def _delete_pool(cloud: Cloud, call: Call, pool: str) -> Json:
    """Delete softly: the name stays taken for 30 days."""
    _found(cloud.pools, pool)["state"] = "DELETED"
    return _done(cloud.pools[pool]["name"])


def _undelete_pool(cloud: Cloud, call: Call, pool: str) -> Json:
    _found(cloud.pools, pool)["state"] = "ACTIVE"
    return _done(cloud.pools[pool]["name"])


def _custom_roles(cloud: Cloud, call: Call) -> Json:
    return {"roles": [{"name": role["name"], "title": role["title"]} for role in cloud.custom_roles.values()]}


def _make_custom_role(cloud: Cloud, call: Call) -> Json:
    name = f"projects/{PROJECT}/roles/{call.body['roleId']}"
    return _new(cloud.custom_roles, call.body["roleId"], {**call.body["role"], "name": name})


def _custom_role(cloud: Cloud, call: Call, role: str) -> Json:
    return _found(cloud.custom_roles, role)


def _change_custom_role(cloud: Cloud, call: Call, role: str) -> Json:
    _found(cloud.custom_roles, role).update(call.body)
    return cloud.custom_roles[role]


def _providers(cloud: Cloud, call: Call, pool: str) -> Json:
    _found(cloud.pools, pool)
    return {"workloadIdentityPoolProviders": list(cloud.providers.values())}


def _make_provider(cloud: Cloud, call: Call, pool: str) -> Json:
    [identifier] = call.query["workloadIdentityPoolProviderId"]
    name = f"{_found(cloud.pools, pool)['name']}/providers/{identifier}"
    _new(cloud.providers, identifier, {**call.body, "name": name, "state": "ACTIVE"})
    return _done(name)


def _undelete_provider(cloud: Cloud, call: Call, pool: str, provider: str) -> Json:
    _found(cloud.providers, provider)["state"] = "ACTIVE"
    return _done(cloud.providers[provider]["name"])


def _change_provider(cloud: Cloud, call: Call, pool: str, provider: str) -> Json:
    _found(cloud.providers, provider).update(call.body)
    return _done(cloud.providers[provider]["name"])


def _policy(cloud: Cloud, call: Call, resource: str) -> Json:
    return cloud.policies.setdefault(resource, {"version": 1, "etag": "AAAA"})


def _set_policy(cloud: Cloud, call: Call, resource: str) -> Json:
    policy: Json = call.body.get("policy", call.body)
    for binding in policy.get("bindings", []):
        for member in binding["members"]:
            _check_member(cloud, member)
    cloud.policies[resource] = policy
    return policy


def _check_member(cloud: Cloud, member: str) -> None:
    kind, _, address = member.partition(":")
    if kind == "serviceAccount" and (address not in {*cloud.accounts, *cloud.agents} or cloud.not_yet_known > 0):
        cloud.not_yet_known -= 1
        raise Refused(400, f"Service account {address} does not exist.")


def _jobs(cloud: Cloud, call: Call) -> Json:
    return {"kind": "JobList", "items": list(cloud.jobs.values())}


def _make_job(cloud: Cloud, call: Call) -> Json:
    return _new(cloud.jobs, call.body["metadata"]["name"], _ready(call.body))


def _ready(job: Json) -> Json:
    return {**job, "metadata": {**job["metadata"], "generation": 1}, "status": _READY}


def _job(cloud: Cloud, call: Call, job: str) -> Json:
    return _found(cloud.jobs, job)


def _change_job(cloud: Cloud, call: Call, job: str) -> Json:
    cloud.jobs[job] = _ready(call.body)
    return cloud.jobs[job]


def _delete_job(cloud: Cloud, call: Call, job: str) -> Json:
    _found(cloud.jobs, job)
    del cloud.jobs[job]
    cloud.policies.pop(job, None)
    return {"status": "Success"}


def _schedules(cloud: Cloud, call: Call) -> Json:
    return {"jobs": list(cloud.schedules.values())}


def _make_schedule(cloud: Cloud, call: Call) -> Json:
    return _new(cloud.schedules, call.body["name"].rpartition("/")[2], {**call.body, "state": "ENABLED"})


def _schedule(cloud: Cloud, call: Call, job: str) -> Json:
    return _found(cloud.schedules, job)


def _change_schedule(cloud: Cloud, call: Call, job: str) -> Json:
    _found(cloud.schedules, job).update(call.body)
    return cloud.schedules[job]


def _pause_schedule(cloud: Cloud, call: Call, job: str) -> Json:
    _found(cloud.schedules, job)["state"] = "PAUSED"
    return cloud.schedules[job]


def _delete_schedule(cloud: Cloud, call: Call, job: str) -> Json:
    _found(cloud.schedules, job)
    del cloud.schedules[job]
    return {}


def _monitored(cloud: Cloud, call: Call, kind: str) -> Json:
    return {kind: list(_of_kind(cloud, kind).values())}


def _make_monitored(cloud: Cloud, call: Call, kind: str) -> Json:
    things = _of_kind(cloud, kind)
    number = str(len(things) + 1)
    return _new(things, number, {**call.body, "name": f"projects/{PROJECT}/{kind}/{number}"})


def _change_monitored(cloud: Cloud, call: Call, kind: str, number: str) -> Json:
    _found(_of_kind(cloud, kind), number).update(call.body)
    return _of_kind(cloud, kind)[number]


def _one_monitored(cloud: Cloud, call: Call, kind: str, number: str) -> Json:
    return _found(_of_kind(cloud, kind), number)


def _delete_monitored(cloud: Cloud, call: Call, kind: str, number: str) -> Json:
    _found(_of_kind(cloud, kind), number)
    del _of_kind(cloud, kind)[number]
    return {}


def _of_kind(cloud: Cloud, kind: str) -> dict[str, Json]:
    return cloud.channels if kind == "notificationChannels" else cloud.alerts


def _metrics(cloud: Cloud, call: Call) -> Json:
    return {"metrics": list(cloud.metrics.values())}


def _make_metric(cloud: Cloud, call: Call) -> Json:
    return _new(cloud.metrics, call.body["name"], call.body)


def _delete_metric(cloud: Cloud, call: Call, metric: str) -> Json:
    _found(cloud.metrics, metric)
    del cloud.metrics[metric]
    return {}


_READY = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}
_JOBS = rf"/apis/run.googleapis.com/v1/namespaces/{PROJECT}/jobs"
_LOCATION = rf"/v1/projects/{PROJECT}/locations/us-central1"
_MONITORED = rf"/v3/projects/{PROJECT}/(?P<kind>notificationChannels|alertPolicies)"
_METRICS = rf"/v2/projects/{PROJECT}/metrics"
_ACCOUNT = r"/v1/projects/[^/]+/serviceAccounts/(?P<resource>[^/:]+)"
_REGISTRY = rf"/v1/projects/{PROJECT}/locations/us-central1/repositories"
_ROLES = rf"/v1/projects/{PROJECT}/roles"
_POOLS = rf"/v1/projects/{PROJECT}/locations/global/workloadIdentityPools"
_ONE_POOL = rf"{_POOLS}/(?P<pool>[^/:]+)"

ROUTES: list[tuple[str, Callable[..., Json]]] = [
    (rf"GET /v1/projects/{PROJECT}", _project),
    (rf"GET /v1/projects/{PROJECT}/services", _services),
    (rf"POST /v1/projects/{PROJECT}/services(/(?P<service>[^/:]+):enable|:batchEnable)", _enable),
    (rf"POST /v1beta1/projects/{PROJECT}/services/aiplatform.googleapis.com:generateServiceIdentity", _make_agent),
    (rf"GET /v1/projects/{PROJECT}/serviceAccounts", _accounts),
    (rf"POST /v1/projects/{PROJECT}/serviceAccounts", _make_account),
    (rf"DELETE {_ACCOUNT}", _delete_account),
    (r"GET /storage/v1/b", _buckets),
    (r"POST /storage/v1/b", _make_bucket),
    (r"GET /storage/v1/b/(?P<bucket>[^/]+)", _bucket),
    (r"PATCH /storage/v1/b/(?P<bucket>[^/]+)", _change_bucket),
    (r"DELETE /storage/v1/b/(?P<bucket>[^/]+)", _delete_bucket),
    (r"GET /storage/v1/b/(?P<bucket>[^/]+)/o", _objects),
    (r"DELETE /storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>.+)", _delete_object),
    (rf"GET {_REGISTRY}", _registries),
    (rf"POST {_REGISTRY}", _make_registry),
    (rf"GET {_REGISTRY}/(?P<registry>[^/:]+)", _registry),
    (rf"PATCH {_REGISTRY}/(?P<registry>[^/:]+)", _change_registry),
    (rf"DELETE {_REGISTRY}/(?P<registry>[^/:]+)", _delete_registry),
    (rf"GET {_ROLES}", _custom_roles),
    (rf"POST {_ROLES}", _make_custom_role),
    (rf"GET {_ROLES}/(?P<role>[^/:]+)", _custom_role),
    (rf"PATCH {_ROLES}/(?P<role>[^/:]+)", _change_custom_role),
    (rf"GET {_POOLS}", _pools),
    (rf"POST {_POOLS}", _make_pool),
    (rf"DELETE {_ONE_POOL}", _delete_pool),
    (rf"POST {_ONE_POOL}:undelete", _undelete_pool),
    (rf"GET {_ONE_POOL}/providers", _providers),
    (rf"POST {_ONE_POOL}/providers", _make_provider),
    (rf"POST {_ONE_POOL}/providers/(?P<provider>[^/:]+):undelete", _undelete_provider),
    (rf"PATCH {_ONE_POOL}/providers/(?P<provider>[^/:]+)", _change_provider),
    (rf"POST /v1/projects/(?P<resource>{PROJECT}):getIamPolicy", _policy),
    (rf"POST /v1/projects/(?P<resource>{PROJECT}):setIamPolicy", _set_policy),
    (rf"POST {_ACCOUNT}:getIamPolicy", _policy),
    (rf"POST {_ACCOUNT}:setIamPolicy", _set_policy),
    (rf"GET {_REGISTRY}/(?P<resource>[^/:]+):getIamPolicy", _policy),
    (rf"POST {_REGISTRY}/(?P<resource>[^/:]+):setIamPolicy", _set_policy),
    (rf"GET {_JOBS}", _jobs),
    (rf"POST {_JOBS}", _make_job),
    (rf"GET {_JOBS}/(?P<job>[^/:]+)", _job),
    (rf"PUT {_JOBS}/(?P<job>[^/:]+)", _change_job),
    (rf"DELETE {_JOBS}/(?P<job>[^/:]+)", _delete_job),
    (rf"GET {_LOCATION}/jobs/(?P<resource>[^/:]+):getIamPolicy", _policy),
    (rf"POST {_LOCATION}/jobs/(?P<resource>[^/:]+):setIamPolicy", _set_policy),
    (rf"GET {_LOCATION}/jobs", _schedules),
    (rf"POST {_LOCATION}/jobs", _make_schedule),
    (rf"GET {_LOCATION}/jobs/(?P<job>[^/:]+)", _schedule),
    (rf"PATCH {_LOCATION}/jobs/(?P<job>[^/:]+)", _change_schedule),
    (rf"POST {_LOCATION}/jobs/(?P<job>[^/:]+):pause", _pause_schedule),
    (rf"DELETE {_LOCATION}/jobs/(?P<job>[^/:]+)", _delete_schedule),
    (rf"GET {_MONITORED}", _monitored),
    (rf"POST {_MONITORED}", _make_monitored),
    (rf"GET {_MONITORED}/(?P<number>[^/:]+)", _one_monitored),
    (rf"PATCH {_MONITORED}/(?P<number>[^/:]+)", _change_monitored),
    (rf"DELETE {_MONITORED}/(?P<number>[^/:]+)", _delete_monitored),
    (rf"GET {_METRICS}", _metrics),
    (rf"POST {_METRICS}", _make_metric),
    (rf"DELETE {_METRICS}/(?P<metric>[^/:]+)", _delete_metric),
    (r"GET /storage/v1/b/(?P<resource>[^/]+)/iam", _policy),
    (r"PUT /storage/v1/b/(?P<resource>[^/]+)/iam", _set_policy),
]
