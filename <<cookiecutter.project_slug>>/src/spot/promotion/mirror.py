"""Show the champion in Vertex AI Model Registry. `champion.json` stays the truth: the registry is never read for it."""

import logging

from spot.config.settings import Settings
from spot.core.errors import PermissionDenied, SpotError
from spot.core.fields import one_line
from spot.google.job_spec import ROOT_LABEL, RUN_LABEL, root_label
from spot.google.model_registry import ModelRegistry, ModelVersion
from spot.storage import paths
from spot.storage.base import Store
from spot.storage.records import champion

_log = logging.getLogger(__name__)


def mirror(store: Store, settings: Settings) -> str | None:
    """Let the registry of [registry] show the champion. Return why it does not; the next reconcile repeats it."""
    wanted, region = settings.registry, settings.cloud.regions[0]
    if wanted.model_id == "none":
        return None
    try:
        if now := champion.read(store)[0].now:
            version = ModelVersion(
                model=f"projects/{settings.cloud.project}/locations/{region}/models/{wanted.model_id}",
                display_name=settings.name,
                artifact_uri=f"{now.uri}/{paths.MODEL_FOLDER}".rstrip("/"),
                labels={ROOT_LABEL: root_label(settings.root), RUN_LABEL: now.run},
                description=now.reason[:500],
                serving_image=None if wanted.serving_image == "none" else wanted.serving_image,
            )
            ModelRegistry(region).use(version)
    except SpotError as error:
        fix = " (fix: bash infra/bootstrap.sh)" if isinstance(error, PermissionDenied) and not error.fix else ""
        problem = f"the model registry does not show the champion: {one_line(error)}{fix}"
        _log.warning("%s", problem)
        return problem
    return None
