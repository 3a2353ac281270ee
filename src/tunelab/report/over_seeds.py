"""Recipes over seeds, and the noise floor: what tells a recipe's doing from a checkpoint's and from chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table, to_markdown
from tunelab.report.wording import MARKS, interval, listing, number, p_value, signed, signed_range, smallest_seen

Row = Mapping[str, Any]
RECIPES = ("recipe", "evaluation", "mean", "95 %", "baseline", "Δ", "95 % of Δ", "verdict", "could see ≥", "seeds",
           "SD between seeds", "seeds from", "to", "seeds to see Δ", "n", "p", "p (Holm)")  # fmt: skip
NOISE = ("variant", "evaluations", "task", "metric", "flip rate", "95 %", "n",
         "change of the score, second minus first", "note")  # fmt: skip


def decided(recipes: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the recipes that have a verdict, as comparisons are written: ``cell`` is ``recipe/evaluation``."""
    return [
        {
            **row,
            "cell": f"{row['recipe']}/{row['evaluation']}",
            "baseline": f"{row['baseline']}/{row['evaluation']}",
            "low": row["difference_low"],
            "high": row["difference_high"],
            "n": row["difference_n"],
            "items_needed": None,
        }
        for row in recipes
        if "verdict" in row
    ]


def seed_counts(recipes: Sequence[Row]) -> str:
    """Say how many seeds recipes have: "3", or "3 to 5"."""
    counts = sorted({len(row["seeds"]) for row in recipes})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def recipes_table(evidence: Evidence) -> Table:
    """Every recipe with three seeds or more: mean, spread of the seeds, and difference from its baseline."""
    known = [_recipe(row) for row in evidence.comparison["recipes"]]
    rows = [[row.get(column) for column in RECIPES] for row in known]
    return Table("Recipes over seeds, on the same items", RECIPES, rows)


def _recipe(row: Row) -> dict[str, Any]:
    """What is known of a recipe, by column."""
    known: dict[str, Any] = {"recipe": row["recipe"], "evaluation": row["evaluation"]}
    if "refused" in row:
        known["verdict"] = f"{MARKS['refused']}: {row['refused']}"
    if "value" not in row:
        return {**known, "seeds": f"of {row['declared']}"}
    seeds = len(row["seeds"])
    known |= {
        "seeds": f"{seeds} of {row['declared']}" if seeds < row["declared"] else str(seeds),
        "mean": number(row["value"]),
        "95 %": interval(row),
        "SD between seeds": number(row["between_seed_sd"]),
        "seeds from": number(row["lowest_seed"]),
        "to": number(row["highest_seed"]),
        "n": row["n"],
        "baseline": row.get("baseline"),
    }
    if "verdict" not in row:
        return known
    [compared] = decided([row])
    return known | {
        "Δ": signed(row["difference"]),
        "95 % of Δ": signed_range(compared),
        "verdict": MARKS[row["verdict"]],
        "p": p_value(row["p_value"]),
        "p (Holm)": p_value(row["p_adjusted"]),
        "could see ≥": smallest_seen(row),
        "seeds to see Δ": row["seeds_needed"],
    }


def noise_table(evidence: Evidence) -> Table:
    """Every variant that was evaluated twice: how many items changed their score."""
    rows: list[list[Any]] = []
    for row in evidence.comparison["noise"]:
        place = [row["variant"], listing(row["evaluations"]), row["task"], row["metric"]]
        found = [number(row["flip_rate"]), interval(row), row["n"], signed(row["change"])] if "n" in row else [None] * 4
        rows.append([*place, *found, row.get("refused") or row.get("note")])
    return Table("Noise floor: the same variant, drawn twice", NOISE, rows)


def floor_of(noise: Sequence[Row]) -> str:
    """Say the noise floor in a clause; empty where nothing was drawn twice."""
    rates = [row for row in noise if "flip_rate" in row]
    if not rates:
        return ""
    worst = max(rates, key=lambda row: row["flip_rate"])
    return (
        f"drawn twice, {worst['variant']} changes its score on {worst['flip_rate']:.1%} of the items "
        f"[{worst['low']:.1%}, {worst['high']:.1%}], and its mean by {signed(worst['change'])} "
        f"({direction(worst)})"
    )


def direction(row: Row) -> str:
    """Name the evaluations between which a variant's mean changed, as they are subtracted."""
    first, second = row["evaluations"]
    return f"{second} minus {first}"


def flat(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as CSV takes them: the same columns in each, lists as text."""
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{key: _text(row.get(key)) for key in columns} for row in rows]


def _text(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def over_seeds_markdown(evidence: Evidence) -> str:
    """Return the two tables in Markdown; empty without any."""
    tables = [table for table in (recipes_table(evidence), noise_table(evidence)) if table.rows]
    return "".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    return f"\n## {table.caption}\n\n{to_markdown(table)}"
