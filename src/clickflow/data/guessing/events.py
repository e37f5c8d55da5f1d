"""Events in the rows of one table: their time, outcome and lists."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clickflow.data.guessing.clock import Clock, clocks, likelihood, positions
from clickflow.data.guessing.outcome import kinds, labels, ratings, shown_and_clicked, splits
from clickflow.data.guessing.profile import Column, Table
from clickflow.data.guessing.sample import Sample
from clickflow.data.guessing.sequences import Candidates, Sequence, candidates, histories, sequences
from clickflow.data.guessing.words import REMOVAL_KINDS, USER, is_named, normal

CLOSE = 0.5
"""Difference of the likelihoods of two times at which a person is asked."""


@dataclass
class Events:
    """Columns of a table by what they mean, except for user and item.

    Attributes:
        moments: all columns that hold times.
        clock: the time; None if there is none.
        label: clicked or not.
        rating: a number of stars.
        kind: the kind of behaviour.
        split: the split that the log names.
        shown: lists of candidates.
        history: a ready-made history.
        lists: all columns with lists.
        questions: what a person should look at.
        named_user: whether a column is named as a user.
    """

    moments: list[Clock] = field(default_factory=list)
    clock: Clock | None = None
    label: Column | None = None
    rating: Column | None = None
    kind: Column | None = None
    split: Column | None = None
    shown: Candidates | None = None
    history: Sequence | None = None
    lists: list[Sequence] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    named_user: bool = False

    @property
    def likelihood(self) -> tuple[bool, bool, bool, bool, bool]:
        """Compares tables: the log has outcomes, users and times."""
        has_user = self.named_user
        return (
            self.shown is not None or self.label is not None,
            self.rating is not None and has_user,
            self.kind is not None,
            has_user,
            self.clock is not None,
        )

    @property
    def taken(self) -> set[str]:
        """Names of the columns that have a meaning."""
        columns = [self.label, self.rating, self.kind, self.split, self.clock and self.clock.column]
        columns += [self.history and self.history.column, self.shown and self.shown.shown.column]
        columns += [self.shown and self.shown.clicked and self.shown.clicked.column]
        return {column.name for column in columns if column is not None}

    @property
    def label_map(self) -> tuple[list[str], list[str]] | None:
        """The kinds that are no clicks and those that are, if a log without a label has both."""
        return shown_and_clicked(self.kind) if self.kind and not self.label and not self.shown else None

    @property
    def protocol(self) -> str:
        """Name of the protocol, by what the log has."""
        if self.label is not None or self.shown is not None or self.label_map is not None:
            return "impressions"
        return "rating" if self.rating is not None else "next_item"

    @property
    def outcome(self) -> Column | None:
        """The column that a model must not see."""
        return self.label or self.rating

    def columns(self) -> dict[str, Any]:
        """The keys of ``columns`` that come from these."""
        found: dict[str, Any] = {"timestamp": self.clock.column.name if self.clock else None}
        if self.label is not None:
            found["label"] = self.label.name
        elif self.label_map and self.kind:
            found["label"] = {"column": self.kind.name, "positive": self.label_map[1], "negative": self.label_map[0]}
        elif self.rating is not None:
            found["rating"] = self.rating.name
        if self.split is not None:
            found["split"] = self.split.name
        if self.kind is not None and self.kind.is_text and self.history is None:
            found["kind"] = self.kind.name
        return found | dict(self._lists())

    def _lists(self) -> Iterator[tuple[str, Any]]:
        if self.history is not None:
            yield "history", self.history.column.name
        if self.shown is not None:
            found = {"column": self.shown.shown.column.name}
            found |= {"separator": self.shown.shown.separator} if self.shown.shown.separator else {}
            found |= {"label_separator": self.shown.label_separator} if self.shown.label_separator else {}
            found |= {"clicked": self.shown.clicked.column.name} if self.shown.clicked else {}
            yield "candidates", found

    def options(self) -> dict[str, Any]:
        """The keys beside ``columns`` that come from these."""
        found: dict[str, Any] = {}
        if self.clock is None:
            found["timestamp_unit"] = "order"
        elif self.clock.unit != "seconds":
            found["timestamp_unit"] = self.clock.unit
        if self.clock is not None and self.clock.text_format is not None:
            found["timestamp_format"] = self.clock.text_format
        if self.history is not None and self.history.separator:
            found["history_separator"] = self.history.separator
        if self.kind is not None and self.kind.is_text and not self.label_map and self.protocol == "next_item":
            found["where"] = {self.kind.name: [str(value) for value in sorted(self.kind.values.unique()) if not is_removal(str(value))]}
        return found


@dataclass(frozen=True)
class LookedAt:
    """A table that was looked at, with what it tells of events."""

    sample: Sample
    table: Table
    events: Events


def events_of(table: Table) -> Events:
    """Look for the columns of events."""
    found = Events(named_user=any(is_named(column.words, USER) for column in table.columns))
    found.moments = moments = clocks(table)
    if moments or (moments := positions(table)):
        found.clock = moments[0]
        found.questions += _about_time(moments)
    else:
        found.questions.append("columns.timestamp: no column is a time, so the order of the rows counts; is it the order of the events?")
    found.split = next(iter(splits(table, found.taken)), None)
    if moments:
        found.kind = next(iter(kinds(table, found.taken)), None)
    found.lists = sequences(table, {clock.column.name for clock in moments} | found.taken)
    found.shown = candidates(found.lists)
    if found.shown is None:
        _choose_outcome(table, found)
    if found.kind is not None and found.protocol == "next_item":
        found.questions.append(_about_kinds(found.kind))
    if found.clock is not None and found.clock.unit == "order":
        _judge_position(found, found.clock)
    return found


def _judge_position(found: Events, clock: Clock) -> None:
    """Take a position for the time, unless impressions have to be split by time: there only the order of all rows can do it."""
    counts = "it counts as a position; is it one?"
    if found.protocol == "impressions" and found.split is None:
        found.clock, found.moments = None, [clock]
        counts = "the order of the rows counts; is it the order of the events?"
    found.questions.append(f"columns.timestamp: {clock.column.name!r} is no time since 1970, so {counts}")


def with_history(events: Events, table: Table, item: Column | None) -> None:
    """Choose the ready-made history, now that the items are known."""
    items = events.shown.items if events.shown else item.values if item else None
    free = [one for one in events.lists if one.column.name not in events.taken]
    found = histories(free, items)
    if found and events.protocol == "next_item":
        name = found[0].column.name
        events.questions.append(f"columns.history: {name!r} looks like a ready-made history, which needs a label or a rating in the row")
    elif found:
        events.history = found[0]


def is_removal(kind: str) -> bool:
    """Whether a kind of behaviour takes an earlier one back."""
    return normal(kind) in REMOVAL_KINDS


def _choose_outcome(table: Table, found: Events) -> None:
    possible = labels(table, found.taken)
    stars = ratings(table, found.taken)
    if possible and not (stars and possible[0].is_unnamed):
        found.label = possible[0]
        others = [column.name for column in possible[1:] if not column.is_unnamed]
        if found.label.is_unnamed:
            found.questions.append(f"columns.label: {found.label.name!r} is the first column with two values; is it the click?")
        elif others:
            found.questions.append(f"columns.label: {found.label.name!r} is the click; or is it {', '.join(map(repr, others[:3]))}?")
    elif stars:
        found.rating = stars[0]
        threshold = "protocol.threshold: ratings of 4 and more count as liked; is that right for this scale?"
        found.questions.append(threshold)


def _about_time(moments: list[Clock]) -> Iterator[str]:
    first = moments[0]
    if first.question:
        yield first.question
    rivals = [clock.column.name for clock in moments[1:] if likelihood(clock) > likelihood(first) - CLOSE and not clock.column.is_unnamed]
    if rivals:
        yield f"columns.timestamp: {first.column.name!r} is the time; or is it {', '.join(map(repr, rivals[:3]))}?"


def _about_kinds(kind: Column) -> str:
    if not kind.is_text:
        return f"columns.kind: {kind.name!r} holds numbers; if they are kinds of behaviour, name it in columns.kind and choose with where"
    return (
        f"where: which kinds of {kind.name!r} count? To predict some of them instead, set protocol impressions and columns.label with "
        "its column, positive and negative"
    )
