"""A report as one page of HTML: no network, no script, light and dark, for a phone and for paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files

from spot.accounting.cost import Account, Entry, Verdict
from spot.accounting.phases import Phase
from spot.accounting.progress_curve import curve, horizon
from spot.accounting.totals import Totals
from spot.core.format import clock, counted, hours
from spot.core.run import Provisioning, RunState
from spot.google import console_urls
from spot.report import svg
from spot.report import wording as words
from spot.report.wording import Headline

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser loads nothing, whatever a page was made to hold."""


def report(account: Account) -> str:
    """One run."""
    run = account.run
    headline = words.headline(account)
    head = [
        f'<p class="kicker">Run <code>{escape(run.id)}</code></p>',
        _headline(headline),
        f'<p class="lead{" bad" if _is_bad(account) else ""}">{escape(_lead(account))}</p>',
    ]
    sections = [
        _facts(words.facts(account)[1:], _places(account)),
        *_timeline(account),
        *_progress(account),
        *_phases(account),
        *_attempts(account.entries),
        *_decisions(account),
    ]
    return _page(f"{run.id}: {headline.text}", head, sections, account.end)


def many(totals: Totals) -> str:
    """Many runs."""
    since = f"submitted since {clock(totals.since)}"
    skipped = [f'<p class="bad">Skipped: {escape(why)}</p>' for why in totals.skipped]
    kicker = f'<p class="kicker">Runs {escape(since)}</p>'
    if not totals.accounts:
        empty = "No run has ended"
        return _page(empty, [kicker, f"<h1>{empty}</h1>"], skipped, totals.until)
    headline = words.total_headline(totals)
    table = _section("Runs", _table(_RUN_HEADS, [_run(account) for account in totals.accounts]))
    facts = _facts(words.total_facts(totals))
    return _page(f"Runs: {headline.text}", [kicker, _headline(headline)], [facts, table, *skipped], totals.until)


_RUN_HEADS = ("run", "state", ">cost", ">on-demand", ">saved", "deadline", ">preemptions", ">goodput")


def _run(account: Account) -> list[str]:
    run = account.run
    return [
        f"<code>{escape(run.id)}</code>",
        escape(run.state),
        "?" if account.usd is None else words.usd(account.usd),
        words.usd(account.on_demand.usd) if account.on_demand else "?",
        _marked(words.saved(account), bad=account.is_loss),
        _marked(words.brief_deadline(account), bad=_is_bad(account)),
        str(run.preemptions),
        "" if account.goodput is None else escape(words.percent(account.goodput)),
    ]


def _page(title: str, head: Sequence[str], sections: Sequence[str], at: datetime) -> str:
    style = (files("spot.report") / "templates" / "report.css").read_text(encoding="utf-8")
    foot = f"<footer><p>{words.UPPER_BOUND}</p><p>Times are UTC. As of {clock(at)}.</p></footer>"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{style}</style></head><body><main>",
            f"<header>{''.join(head)}</header>",
            *sections,
            f"{foot}</main></body></html>\n",
        ]
    )


def _headline(headline: Headline) -> str:
    bad = ' class="bad"' if headline.is_loss else ""
    return f"<h1{bad}>{escape(headline.text)}</h1>"


def _lead(account: Account) -> str:
    due = words.deadline(account)
    if account.verdict is Verdict.NO_MODEL:
        return f"{due[0].upper()}{due[1:]}."
    state = words.state(account)
    return f"{state[0].upper()}{state[1:]}. Deadline {due}."


def _is_bad(account: Account) -> bool:
    return account.verdict is Verdict.MISSED or account.run.state is RunState.FAILED


def _facts(facts: Iterable[tuple[str, str]], places: Iterable[tuple[str, str]] = ()) -> str:
    """`places` are HTML already."""
    cells = [*((name, escape(text)) for name, text in facts), *places]
    items = "".join(f"<div><dt>{name}</dt><dd>{cell}</dd></div>" for name, cell in cells)
    return f'<dl class="facts">{items}</dl>'


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"


def _timeline(account: Account) -> list[str]:
    if not account.entries:
        return []
    kinds = dict.fromkeys(entry.attempt.provisioning for entry in account.entries if entry.billed)
    key = [_key("waited", "waiting"), *(_key(f"training {kind}", kind) for kind in kinds)]
    key += [_key("rest", "paid, not training")] if kinds else []
    key += [_key("lost", "trained and lost")] if account.phases[Phase.REPLAYED] else []
    key += ['<li><i class="cross">✕</i> preempted</li>'] if account.run.preemptions else []
    key += ['<li><i class="diamond">◆</i> took over</li>'] if any(one.took_over_at for one in account.entries) else []
    return [_section("Attempts over time", _legend(key), svg.timeline(account, horizon(account)))]


def _progress(account: Account) -> list[str]:
    found = curve(account)
    if found is None:
        return []
    key = [_key("done-key", "safe in a checkpoint"), _key("due-key", "least that still meets the deadline")]
    drawn = svg.progress(account, found, horizon(account))
    return [_section("Progress against the deadline", _legend(key), drawn)]


def _phases(account: Account) -> list[str]:
    if not account.billed:
        return []
    found = words.phases(account)
    bar = "".join(f'<i class="{_word(phase)}" style="flex-grow:{share:.5f}"></i>' for phase, _, share in found)
    rows = [
        [
            f'<i class="swatch {_word(phase)}"></i>{phase}',
            hours(took),
            escape(words.percent(share)),
            escape(words.MEANING[phase]),
        ]
        for phase, took, share in found
    ]
    if account.waiting:
        rows.append([f'<i class="swatch waited"></i>{words.WAITING}', hours(account.waiting), "", words.WAITED])
    bar = f'<div class="bar" aria-hidden="true">{bar}</div>'
    return [_section("What was paid for", bar, _table(("", ">time", ">of billed", ""), rows, kind="narrow"))]


_ATTEMPT_HEADS = ("", "where", "submitted", ">waited", ">billed", ">useful", ">price", ">cost", "outcome", "")


def _attempts(entries: Sequence[Entry]) -> list[str]:
    return [_section("Attempts", _table(_ATTEMPT_HEADS, [_attempt(entry) for entry in entries]))] if entries else []


def _attempt(entry: Entry) -> list[str]:
    attempt = entry.attempt
    said = f'<br><span class="said">{escape(words.said(entry))}</span>' if words.said(entry) else ""
    return [
        f"<b>{escape(attempt.id)}</b>",
        escape(words.where(entry)),
        clock(attempt.intended_at)[:16],
        hours(entry.waited),
        hours(entry.billed) if entry.billed else "",
        hours(entry.phases[Phase.TRAINING]) if entry.billed else "",
        escape(words.rate(entry.usd_per_hour)) if entry.billed else "",
        words.cost(entry),
        f"<span>{escape(words.how(entry))}{said}</span>",
        _job(attempt.job) if attempt.job else "",
    ]


def _job(job: str) -> str:
    return (
        f'<span class="links">{_link("job", console_urls.console(job))} {_link("log", console_urls.logs(job))}</span>'
    )


def _decisions(account: Account) -> list[str]:
    made = account.run.decisions
    rows = [[clock(one.at)[:16], escape(one.action), escape(one.reason)] for one in made]
    return [_section(counted(len(made), "decision"), _table(("at", "what", "why"), rows))] if made else []


def _places(account: Account) -> list[tuple[str, str]]:
    run = account.run
    if run.state is not RunState.SUCCEEDED:
        return []
    page = console_urls.storage(run.model)
    return [("model", _link(run.model, page) if page else escape(run.model))]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "wide") -> str:
    """The cells are HTML already. In a wide one each knows its head: on a phone a row of it is a card."""
    names = [head.lstrip(">") for head in heads]
    sides = [' class="n"' if head.startswith(">") else "" for head in heads]
    head = "".join(f'<th scope="col"{side}>{name}</th>' for name, side in zip(names, sides, strict=True))
    body = "".join(f"<tr>{''.join(_cell(*cell) for cell in zip(names, sides, row, strict=True))}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(name: str, side: str, text: str) -> str:
    head = f' data-head="{name}"' if name else ""
    return f"<td{side}{head}>{text}</td>"


def _legend(items: Sequence[str]) -> str:
    return f'<ul class="key">{"".join(items)}</ul>'


def _key(kind: str, name: str | Provisioning) -> str:
    return f'<li><i class="swatch {kind}"></i>{name}</li>'


def _marked(text: str, *, bad: bool) -> str:
    return f'<b class="bad">{escape(text)}</b>' if bad else escape(text)


def _link(name: str, url: str) -> str:
    return f'<a href="{escape(url)}">{escape(name)}</a>'


def _word(phase: Phase) -> str:
    return f"phase-{phase.name.lower().replace('_', '-')}"
