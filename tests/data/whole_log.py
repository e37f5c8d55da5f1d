"""A checked log as whole tables, for tests of what sources read and of what checks let pass."""

from dataclasses import dataclass

import polars as pl

from clickflow.data import validation
from clickflow.data.log_parts import LogParts
from clickflow.data.scratch import IN_MEMORY
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig


@dataclass(frozen=True)
class CheckedLog:
    """The tables of a log in the order of its files, and its counts."""

    interactions: pl.DataFrame
    items: pl.DataFrame | None
    behaviours: pl.DataFrame | None
    raw: RawLog
    counts: dict[str, int]
    histories: pl.DataFrame | None


def check(raw: RawLog, config: SourceConfig) -> CheckedLog:
    """Check a log as ``prepare`` does, and read it into memory."""
    log = validation.check(raw, config)
    parts = LogParts(log, config, IN_MEMORY)
    [part] = parts
    return CheckedLog(part.interactions, log.items, part.behaviours, raw, log.counts | parts.counts, part.histories)
