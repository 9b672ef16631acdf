"""Run the verbs on models: models, champion, promote, rollback."""

from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType

from spot.accounting.cost import account
from spot.cli import console
from spot.cli.runs import user
from spot.config.load import load
from spot.core.errors import Exit
from spot.core.format import clock, named
from spot.core.tables import facts, table
from spot.promotion.rule import recorded
from spot.storage.records.champion import Champion
from spot.supervisor import service
from spot.supervisor.service import ModelsResult


def models(options: Namespace) -> int:
    now = datetime.now(UTC)
    since = now - options.since
    found = service.models(load(options.settings), since, now)
    values = model_values(found, now)
    shown = table("run", "score", "verdict", "in use", ">cost", whole=["run"])
    for one in values:
        cost = "?" if one["usd"] is None else f"${one['usd']:.2f}"
        score = f"{one['metric']} {shown_score(one['score'])}" if one["metric"] else ""
        promoted_at = clock(one["promoted_at"]) if one["promoted_at"] else ""
        in_use = f"since {promoted_at}" if one["is_champion"] else promoted_at and f"from {promoted_at}"
        shown.add_row(one["run"], score, one["verdict"] or "", in_use, cost)
    text: RenderableType = shown if values else f"no run submitted since {clock(since)} has a model"
    console.show({"runs": values, "skipped": found.skipped}, [text, *found.skipped], options.json)
    return Exit.DONE


def champion(options: Namespace) -> int:
    return _show(options, service.current_champion(load(options.settings)))


def promote(options: Namespace) -> int:
    settings, now = load(options.settings), datetime.now(UTC)
    return _show(options, service.promote(settings, options.run, now, by=user(), reason=options.reason))


def rollback(options: Namespace) -> int:
    settings, now = load(options.settings), datetime.now(UTC)
    return _show(options, service.rollback(settings, options.to, now, by=user(), reason=options.reason))


def _show(options: Namespace, found: Champion) -> int:
    console.show({"run": found.run, "promotions": found.promotions}, champion_view(found), options.json)
    return Exit.DONE


def champion_view(found: Champion) -> list[RenderableType]:
    if not (now := found.now):
        return ["no model is in use yet: spot models lists the trained ones, spot promote RUN puts one in use"]
    lines = [
        ("champion", now.run),
        ("since", f"{clock(now.at)}, by {now.by} ({now.how})"),
        ("why", now.reason),
        ("model", now.uri),
    ]
    history = table(">", "run", "promoted", "how", "by", ">score", "why", whole=["run", "promoted"])
    for one in found.promotions:
        history.add_row(str(one.number), one.run, clock(one.at), one.how, one.by, shown_score(one.score), one.reason)
    return [facts(lines), "", history]


def shown_score(score: float | None) -> str:
    return "?" if score is None else f"{score:.4g}"


def model_values(found: ModelsResult, now: datetime) -> list[dict[str, Any]]:
    values = []
    for run, seen in ((one.run, one.seen) for one in found.runs if one.run):
        made, promotion = recorded(run), found.champion.promotion_of(run.id)
        judged = seen.evaluation.judged if seen and seen.evaluation else None
        one: dict[str, Any] = {
            "run": run.id,
            **named(run, "submitted_at", "model"),
            "metric": judged and judged.metric,
            "score": judged and judged.score,
            "verdict": made and made.action,
            "reason": made and made.reason,
            "promoted_at": promotion and promotion.at,
            "is_champion": found.champion.run == run.id,
            "usd": account(run, seen, now).usd,
        }
        values.append(one)
    return values
