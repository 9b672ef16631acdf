"""Render `MODEL.md`, which lies beside a model: where it comes from, what it cost, how it compares, how to load it."""

from spot.accounting.cost import Account
from spot.core.format import clock
from spot.pricing.quotes import described
from spot.promotion.rule import recorded
from spot.report import rows
from spot.report import wording as words
from spot.report.render import render
from spot.storage.base import NotFound, Store
from spot.storage.records import completion

NAME = "MODEL.md"


def card(account: Account, models: Store) -> str:
    """Return the card of a succeeded run. Raise `NotFound` or `Damaged` if its completion record cannot be read."""
    run, spec = account.run, account.run.spec
    complete = completion.read(models, run.id)
    if complete is None:
        raise NotFound(f"{models.uri}/{run.id} has no completion record")
    values = rows.of_run(account)
    data = spec.flags.get("--data", "unknown")
    facts = [
        ("trained", clock(complete.time)),
        ("commit", complete.commit),
        ("image", spec.image),
        ("data", f"{data}, pinned by {spec.root}/{spec.dataset}" if spec.dataset else data),
        ("machine", described(spec.machine)),
        ("cost", words.headline(account)),
        ("interruptions", words.interruptions(account)),
    ]
    if made := recorded(run):
        facts.append(("gate", f"{made.action}: {made.reason}"))
    return render(
        "model.md.j2",
        run=run,
        facts=facts,
        evaluation=values["evaluation"],
        config=sorted(complete.config.items()),
        files=[(name, one.size, one.generation, one.sha256 or "") for name, one in sorted(complete.objects.items())],
        upper_bound=words.UPPER_BOUND,
    )
