"""A table of behaviours, read and checked as a log is for training, in the order that histories are made from."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from clickflow.data.behaviours import Behaviours, IdNumbers, time_order
from clickflow.data.coding import codes
from clickflow.data.history_rules import HistoryRules
from clickflow.data.id_numbers import id_numbers
from clickflow.data.schema import ITEM, TICKS_PER_SECOND, TIMESTAMP, USER, TimestampUnit
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.formats import expand
from clickflow.data.sources.log import LogConfig
from clickflow.data.sources.log_columns import LogColumns
from clickflow.data.validation import CheckedLog, check
from clickflow.errors import ConfigError, DataError
from clickflow.serving.behaviour_table import BehaviourTable
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.config import BehavioursConfig
from clickflow.serving.ids import IdTable
from clickflow.serving.raw_columns import BadValue, shortened
from clickflow.text import counted

KEYS = "|".join(BehavioursConfig.model_fields)
BEFORE_THERE_WERE_RULES = (
    "the model was logged before models knew how their histories were made: no history_lag and numbers that are Unix seconds are assumed"
)
BY_POSITION = (
    "the model was trained by position within a moment (ties=position); here a history holds what is strictly earlier than its row"
)


def read_behaviours(config: BehavioursConfig, bundle: ServingBundle, items: IdTable, say: Callable[[str], None]) -> BehaviourTable:
    """Read a table for a model.

    Args:
        config: where the table is; its ``path`` is given.
        bundle: the model, whose rules make the histories.
        items: ids of the model's items, of the type that the table's must have.
        say: takes what is worth to know about the table, in sentences.

    Raises:
        ConfigError: the config contradicts what the model was trained on.
        DataError: the table cannot be read, or has rows that cannot be used.
    """
    rules = bundle.histories or HistoryRules()
    refuse_other_rules(config, rules)
    if bundle.histories is None:
        say(BEFORE_THERE_WERE_RULES)
    if rules.by_position:
        say(BY_POSITION)
    checked = _read(config, unit_of(config, rules), rules)
    table = _table(_typed(checked, items), items, checked.raw.timestamp_unit, rules)
    if dropped := checked.counts.get("bad_rows_dropped"):
        say(f"behaviours: {counted(dropped, 'bad row')} dropped of {checked.counts['rows_read']:,}")
    say(f"{counted(len(table.item), 'behaviour')} of {counted(len(table.users), 'user')}, {table.num_bytes / 2**20:,.1f} MiB")
    return table


def behaviour_files(config: BehavioursConfig) -> tuple[Path, ...]:
    """The files of a table; none where there is none."""
    return () if config.path is None else expand(config.path, "behaviours.path", config.format)


def refuse_other_rules(config: BehavioursConfig, rules: HistoryRules) -> None:
    """Raise a ConfigError if behaviours cannot make the histories that a model was trained on, or not with these timestamps."""
    if rules.ready_made:
        raise ConfigError(
            f"behaviours.path = {', '.join(map(str, config.path or ()))}: the model was trained on histories that came with each row, and "
            "behaviours may make others; leave it out and give each row its history"
        )
    in_order = rules.timestamp_unit == "order"
    if in_order and config.timestamp_format is not None:
        raise ConfigError(
            f"behaviours.timestamp_format = {config.timestamp_format}: a clock, but the model was trained on positions "
            "(timestamp_unit=order); leave it out and give positions"
        )
    if config.timestamp_unit is not None and in_order != (config.timestamp_unit == "order"):
        found = "positions" if in_order else "times"
        raise ConfigError(
            f"behaviours.timestamp_unit = {config.timestamp_unit}: the model was trained on {found} "
            f"(timestamp_unit={rules.timestamp_unit}), and both must be the same kind; leave it out and give {found}"
        )


def unit_of(config: BehavioursConfig, rules: HistoryRules) -> TimestampUnit:
    """Unit of timestamps that are numbers."""
    return config.timestamp_unit or rules.timestamp_unit


def as_behaviours(error: DataError, rules: HistoryRules) -> DataError:
    """Make an error about a log one about behaviours: its advice names the keys that there are here, and suits the model."""
    text = re.sub(rf"\bdata\.(?=(?:{KEYS})\b)", "behaviours.", str(error))
    kind = "positions, as in training" if rules.timestamp_unit == "order" else "times, as in training"
    text = text.replace("remove behaviours.timestamp_unit=order", f"give {kind}")
    return DataError(text.replace(", behaviours.timestamp_unit=order for positions", ""))


def _read(config: BehavioursConfig, unit: TimestampUnit, rules: HistoryRules) -> CheckedLog:
    dialect = {key: getattr(config, key) for key in Dialect.model_fields}
    log = LogConfig(
        name="behaviours",
        path=config.path or (),
        where=config.where,
        columns=LogColumns(**dict(config.columns)),
        timestamp_unit=unit,
        timestamp_format=config.timestamp_format,
        on_bad_rows=config.on_bad_rows,
        max_bad_share=config.max_bad_share,
        **dialect,
    )
    try:
        return check(log.read(behaviour_files(config)), log)
    except DataError as error:
        raise as_behaviours(error, rules) from error


def _typed(checked: CheckedLog, items: IdTable) -> pl.DataFrame:
    """Users as texts, and items of the type that the model's have."""
    frame = checked.interactions.whole().select(pl.col(USER).cast(pl.String), ITEM, TIMESTAMP)
    if not items.is_integer:
        return frame.cast({ITEM: pl.String})
    if frame.schema[ITEM] == pl.String:
        where = f"{checked.raw.origins['interactions']}, column '{checked.raw.columns[ITEM]}'"
        no_integer = frame[ITEM].cast(pl.Int64, strict=False).cast(pl.String).ne_missing(frame[ITEM])
        example = frame[ITEM].filter(no_integer)[0] if no_integer.any() else frame[ITEM][0]
        raise DataError(f"{where} = texts, such as {example!r}: not {items.expected}")
    return frame


def _table(frame: pl.DataFrame, ids: IdTable, unit: TimestampUnit, rules: HistoryRules) -> BehaviourTable:
    users, items = frame[USER].unique(), frame[ITEM].unique().sort()
    try:
        canonical = ids.canonical(items.to_arrow())
    except BadValue as fault:
        raise DataError(f"behaviours, an item = {shortened(fault.value)}: {fault.message}.") from fault
    numbers = id_numbers(users.to_arrow())
    by_number = np.argsort(numbers)
    users, numbers = users.gather(by_number), numbers[by_number]
    if alike := np.flatnonzero(np.diff(numbers) == 0).tolist():
        pair = users.gather([alike[0], alike[0] + 1]).to_list()
        raise DataError(f"behaviours, users {pair[0]!r} and {pair[1]!r}: cannot be told apart by their 64-bit hash; rename one of them.")
    group, item = codes(frame[USER], users), codes(frame[ITEM], items)
    timestamp = frame[TIMESTAMP].to_numpy() * (1 if unit == "order" else 10**6 // TICKS_PER_SECOND[unit])
    in_ticks: TimestampUnit = "order" if unit == "order" else "microseconds"
    item_numbers = id_numbers(items.to_arrow())
    order = time_order(group, item, timestamp, len(users), rules.seed, lambda: IdNumbers(numbers, item_numbers, in_ticks))
    sorted_ = Behaviours.of(group[order], item[order], timestamp[order], order, len(users))
    found = sorted_.without_repeats() if rules.merges_identical else sorted_
    return BehaviourTable(
        users=users.to_arrow().cast("large_string"),
        user_numbers=numbers,
        starts=np.append(found.starts, len(found.item)),
        items=canonical,
        item=found.item.astype(np.int32),
        timestamp=found.timestamp,
        rules=rules,
    )
