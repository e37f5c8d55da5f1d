"""A first config of a log: guesses, and the questions that only its owner can answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clickflow.data.guessing.events import LookedAt, events_of, with_history
from clickflow.data.guessing.field_columns import Fields, as_config, fields_of_log
from clickflow.data.guessing.identity import Identity, identity, lists
from clickflow.data.guessing.other_tables import behaviours, description, files_of, key_of, of_whom, properties
from clickflow.data.guessing.profile import Column, Table
from clickflow.data.guessing.sample import Sample, joined, read_sample
from clickflow.data.guessing.words import words_of
from clickflow.errors import DataError

SECTIONS = {"item": "items", "user": "users"}
"""Role of fields -> the section of the table that they are read from."""
SHORT_NAMES = {"label": "clicked", "kind": "event", "candidates": "shown"}
"""Names of columns without a header, where they are not called as their key."""
SPLIT_FILES = {
    "train": frozenset({"train", "training"}),
    "validation": frozenset({"validation", "valid", "val", "dev"}),
    "test": frozenset({"test"}),
}


@dataclass
class Guess:
    """A first config.

    Attributes:
        values: the config, without its name.
        protocol: which rows are impressions.
        looked_at: how much of which file was read.
        questions: what only the owner of the log can say.
        left_out: file -> its columns that are in no key, and why.
        remarks: what else a person should know.
    """

    values: dict[str, Any]
    protocol: str
    looked_at: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def guess(paths: Sequence[Path]) -> Guess:
    """Look at the first rows of files and guess what they hold.

    Raises:
        DataError: a file cannot be read, or none of them holds users and items.
    """
    samples = joined([read_sample(path) for path in paths])
    tables = [LookedAt(sample, table := Table(sample.frame), events_of(table)) for sample in samples]
    tables.sort(key=lambda one: one.events.likelihood, reverse=True)
    found = _Draft(tables[0], tables[1:]).guess()
    found.looked_at = [_looked_at(sample) for sample in samples]
    return found


class _Draft:
    """The config as it grows, table by table."""

    def __init__(self, log: LookedAt, others: list[LookedAt]) -> None:
        self.log, self.others = log, others
        self.events, self.table = log.events, log.table
        self.items: LookedAt | None = None
        self.used: set[str] = set()
        self.guessed = Guess({}, log.events.protocol, questions=list(log.sample.questions))

    def guess(self) -> Guess:
        who = self._identity()
        user, item = who.user, who.item
        has_lists = self.events.shown is not None
        if user is None or (item is None and not has_lists):
            raise DataError(
                f"{self.log.sample.paths[0]}: no two columns could be a user and an item (ids that recur: whole numbers, or texts without "
                "spaces); name them in a YAML of your own, as docs/bring-your-data.md shows."
            )
        columns = {"user": user.name, **({} if has_lists else {"item": item.name}), **self.events.columns()}  # type: ignore[union-attr]
        taken = self.events.taken | {user.name} | ({item.name} if item else set())
        if self.events.protocol == "impressions" and not has_lists and (groups := lists(self.table, taken, user)):
            columns["group"] = groups[0].name
            taken.add(groups[0].name)
        tables = self._other_tables(user, item)
        elsewhere = [role for role, section in SECTIONS.items() if section in tables]
        fields = fields_of_log(self.log, taken, user, item, self.used, elsewhere)
        self._note(self.log.sample, fields)
        names = _names(columns, self.log)
        own = renamed(as_config(fields), names)
        merged = {key: {**tables.pop(key, {}), **own.get(key, {})} for key in ("item_fields", "user_fields", "context_fields")}
        self.guessed.questions += [*self.events.questions, *who.questions]
        log = {**files_of(self.log.sample), **_split_files(self.log.sample.paths), "columns": columns, **self.events.options()}
        self.guessed.values = renamed(log, names) | {key: value for key, value in merged.items() if value} | tables
        self.guessed.questions = [with_names(question, names) for question in self.guessed.questions]
        return self.guessed

    def _identity(self) -> Identity:
        """User and item, which ids in lists and in other tables may tell."""
        events, taken = self.events, self.events.taken | {one.column.name for one in self.events.lists}
        first = identity(self.table, taken, {}, has_item=events.shown is not None)
        known: dict[str, Column] = {}
        for other in self.others:
            key = key_of(other)
            role = None if key is None else of_whom(key, first.user, first.item)
            if key is not None and role is not None:
                known[role] = key
        who = identity(self.table, taken, known, has_item=events.shown is not None) if known else first
        with_history(events, self.table, who.item)
        return who

    def _other_tables(self, user: Column, item: Column | None) -> dict[str, Any]:
        """The sections of the other tables and their fields."""
        items = item or self._shown_items()
        sections: dict[str, Any] = {}
        may_have_behaviours = self.events.history is None and self.events.clock is not None
        roles = [(other, key, of_whom(key, user, items) if key else None) for other in self.others for key in [key_of(other)]]

        def rank(one: tuple[LookedAt, Column | None, str | None]) -> tuple[bool, float, bool]:
            """Order of the tables: behaviours last, since they may share fields of the item table; who knows more ids first."""
            other, key, role = one
            ids = items if role == "item" else user
            known = 0.0 if key is None or role is None or ids is None else ids.covered_by(key.values)
            return role is None, -known, bool(other.events.moments)

        for other, key, role in sorted(roles, key=rank):
            if key is not None and role is not None and SECTIONS[role] not in sections:
                sections |= self._described(other, key, role, items if role == "item" else user)
            elif "items" not in sections and (found := properties(other, self.log.sample, items, self.used)):
                sections |= {"items": found[0], **as_config(found[1])}
                self.guessed.questions.append(_about_properties(other, found[0]))
            elif (
                may_have_behaviours
                and "behaviours" not in sections
                and (section := behaviours(other, self.log.sample, user, items, self.items))
            ):
                sections["behaviours"] = section
            else:
                name = other.sample.paths[0].name
                self.guessed.questions.append(f"{name}: neither an item table, a user table nor behaviours of this log; what is it?")
        return sections

    def _described(self, other: LookedAt, key: Column, role: str, ids: Column | None) -> dict[str, Any]:
        """The section of an item or user table, with its fields and what to do about ids that it lacks."""
        section, fields = description(other, self.log.sample, key, role, self.used)
        self._note(other.sample, fields)
        name = other.sample.paths[0].name
        if not as_config(fields):
            self.guessed.remarks.append(f"{name}: no column of it could be a field")
            return {}
        if role == "item":
            self.items = other
        found = {SECTIONS[role]: renamed(section, {key.name: role} if key.is_unnamed else {}), **as_config(fields)}
        known = 1.0 if ids is None or not other.sample.is_whole else ids.covered_by(key.values)
        if known < 1.0:
            self.guessed.questions.append(f"{name}: knows {known:.1%} of the log's {role}s; the others get unknown fields; is that right?")
            found[f"on_missing_{role}s"] = "unknown"
        return found

    def _shown_items(self) -> Column | None:
        return None if self.events.shown is None else Column("items", self.events.shown.items, -1)

    def _note(self, sample: Sample, fields: Fields) -> None:
        name = sample.paths[0].name
        if fields.left_out:
            self.guessed.left_out[name] = fields.left_out
        if fields.several:
            columns = ", ".join(fields.several)
            self.guessed.remarks.append(f"{name}: {columns}: several values in one text, which count as one category")


def _names(columns: dict[str, Any], log: LookedAt) -> dict[str, str]:
    """New names of the columns of a file without a header, by what they are."""
    found = {}
    for role, column in columns.items():
        name = column.get("column") if isinstance(column, dict) else column
        if name is not None and log.table[name].is_unnamed:
            found[name] = SHORT_NAMES.get(role, role)
    return found


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A part of the config with other names for some columns."""
    if isinstance(value, dict):
        return {names.get(key, key): renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def with_names(text: str, names: Mapping[str, str]) -> str:
    """A question with these names, and the places of the columns.

    >>> with_names("columns.user: 'column_2' is a guess", {"column_2": "user"})
    "columns.user: 'user' (column 2) is a guess"
    """
    for old, new in names.items():
        text = text.replace(f"{old!r}", f"{new!r} (column {old.removeprefix('column_')})")
    return text


def _split_files(paths: Sequence[Path]) -> dict[str, Any]:
    """Files of the splits, if there are three that are named so."""
    found = {split: [path for path in paths if words_of(path.name.partition(".")[0]) & words] for split, words in SPLIT_FILES.items()}
    if len(paths) != len(SPLIT_FILES) or any(len(files) != 1 for files in found.values()):
        return {}
    train, validation, test = (str(files[0]) for files in found.values())
    return {"path": train, "validation_path": validation, "test_path": test}


def _about_properties(other: LookedAt, section: dict[str, Any]) -> str:
    [(column, name)] = section["where"].items()
    return (
        f"items: of {other.sample.paths[0].name} it takes the rows with {column} = {name}, one field; is another one better? "
        "Items whose value changes with time need on_bad_rows: drop, or a table with one row per item"
    )


def _looked_at(sample: Sample) -> str:
    names = ", ".join(map(str, sample.paths))
    if len(sample.paths) > 1:
        return f"{names}: {sample.frame.height:,} rows"
    return f"{names}: {'all' if sample.is_whole else 'the first'} {sample.frame.height:,} rows"
