"""Terminal tables of ``kit bench``."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from kit.bench.measure import Bench
from kit.errors import counted
from kit.report.tables import plain_table

DATA, STEP, DISK = "decode and augment only", "training step only", "disk only"


def bench_tables(found: Bench) -> list[Table | str]:
    """Return the machine, the measured rates, trials of other settings, and advice."""
    tables: list[Table | str] = [_facts(found), _rates(found), _predicting(found)]
    if found.trials:
        tables.append(_settings(found))
    return [*tables, *(escape(sentence) for sentence in found.advice)]


def _facts(found: Bench) -> Table:
    table = plain_table("", "", title=f"{found.experiment}: speed on this machine")
    table.show_header = False
    for name, text in found.facts.items():
        table.add_row(name, escape(text))
    memory = found.memory
    amounts = {"host": memory.host, "device": memory.device}
    used = [f"{mb:,.0f} MB on the {where}" for where, mb in amounts.items() if mb is not None]
    table.add_row("peak memory", ", ".join(used) or "unknown")
    return table


def _rates(found: Bench) -> Table:
    ceilings = found.ceilings
    table = plain_table("training", "images/s", "", right=("images/s",))
    table.add_row(DATA, _rate(ceilings.data), f"{_rate(found.uncached)} in the first epoch (not cached)")
    table.add_row(STEP, _rate(ceilings.step), "on a batch that is already on the device")
    table.add_row(DISK, _rate(ceilings.disk), "reading the files of an epoch, not in the page cache")
    name = {"data": DATA, "step": STEP, "disk": DISK}[ceilings.lowest]
    table.add_row(
        "[bold]all together[/bold]",
        f"[bold]{_rate(found.pipeline)}[/bold]",
        f"{found.ratio:.2f} x the slowest ({name})",
    )
    return table


def _predicting(found: Bench) -> Table:
    inference = found.inference
    table = plain_table("prediction", "images/s", "", right=("images/s",))
    views = f"{counted(inference.views, 'view')} per image" if inference.views > 1 else "one view per image"
    table.add_row("model only", _rate(inference.step), f"{views}, up to {inference.size} px")
    table.add_row("with decoding", _rate(inference.pipeline), f"{inference.ratio:.2f} x model only")
    return table


def _settings(found: Bench) -> Table:
    table = plain_table("other settings, one at a time", "images/s", "gain", "", right=("images/s", "gain"))
    for trial in found.trials:
        gain = "" if trial.gain is None else f"{trial.gain:.2f}"
        table.add_row(
            trial.setting.text, _rate(trial.rate), gain, escape(trial.problem or trial.setting.changes)
        )
    return table


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
