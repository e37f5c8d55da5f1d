"""``key=value`` arguments: read by Hydra's own parser, handed to it so that unknown keys reach the strict config, and written for a shell.

Hydra by itself stops at the first unknown key, without saying which keys there are. So plain ``key=value`` overrides are handed to it as
``++key=value``.
"""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString, ValueType
from hydra.errors import HydraException

from clickflow.cli.misspelt import meant_assignment
from clickflow.errors import ConfigError


def parsed_overrides(overrides: Sequence[str], parser: OverridesParser | None = None) -> list[Override]:
    """Each override as Hydra understands it, or as a parser with other functions does.

    Raises:
        ConfigError: an argument that is no override, or whose text Hydra would read as another one.
    """
    parser = parser or OverridesParser.create()
    return [_parsed(overrides, position, parser) for position in range(len(overrides))]


def _parsed(overrides: Sequence[str], position: int, parser: OverridesParser) -> Override:
    text = overrides[position]
    where = f"command line, {text.removeprefix('++')}"
    key, equals, typed = text.removeprefix("++").partition("=")
    if equals and not key:
        raise ConfigError(f"{where}: no key; write key=value, as in model.embedding_dim=32")
    try:
        parsed = parser.parse_override(text)
        value = None if parsed.is_sweep_override() or parsed.is_delete() else parsed.value()
    except HydraException as error:
        if not equals and (meant := meant_assignment([other.removeprefix("++") for other in overrides], position)):
            raise ConfigError(f"command line, {meant[0]}: not key=value; write {meant[1]}") from error
        if not equals:
            raise ConfigError(f"{where}: not key=value; write key=value, as in model.embedding_dim=32") from error
        raise ConfigError(f"{where}: {first_paragraph(error)}; if the value is one text, write {quoted_argument(key, typed)}") from error
    if isinstance(value, str) and value != typed and not re.match(r"\s*['\"]", typed) and "\\" not in typed:
        raise ConfigError(f"{where}: would be read as {value!r}, without some of its spaces; write {quoted_argument(key, typed)}")
    return parsed


def lenient(arguments: Sequence[str], groups: Collection[str]) -> list[str]:
    """``key=value`` -> ``++key=value``, except for config groups and Hydra's own keys.

    Hydra takes ``model=models:/…`` for a choice of the group ``model``; a URI is handed to it as ``model.uri``, which
    :data:`~clickflow.tracking.config.ModelUri` takes.
    """

    def is_config_key(argument: str) -> bool:
        key = re.match(r"([A-Za-z_][\w.]*)=", argument)
        return key is not None and not key[1].startswith("hydra.") and key[1] not in {*groups, "hydra"}

    arguments = [re.sub(r"^run_id=(\w+)$", r"run_id='\1'", argument) for argument in arguments]  # some read as numbers, as 12345678 and 1e5
    uris_apart = [re.sub(r"^model=(?=['\"]?\w*:/)", "model.uri=", argument) for argument in arguments]
    return [f"++{argument}" if is_config_key(argument) else argument for argument in uris_apart]


def given_overrides() -> list[str]:
    """The overrides of the job that is running, as the user gave them: without the signs that :func:`lenient` added."""
    return [override.lstrip("+") for override in HydraConfig.get().overrides.task]


def override_text(key: str, value: Any) -> str:
    """``key=value`` as Hydra reads it back; strings are quoted where they would be read as something else.

    >>> print(override_text("model.hidden_units", [80, 40]), override_text("seed", "1"), override_text("model", "din"))
    model.hidden_units=[80,40] seed='1' model=din
    """
    override = Override(OverrideType.CHANGE, key, ValueType.ELEMENT, _quoted(value))
    return f"{key}={override.get_value_element_as_str()}"


def argument(key: str, text: str) -> str:
    """``key=text`` that Hydra reads as this text, with quotes only where it needs them.

    >>> print(argument("home", "/tmp/a b"), argument("home", "/tmp/a,b"), argument("home", "2026"))
    home=/tmp/a b home="/tmp/a,b" home="2026"
    """
    try:
        [parsed] = parsed_overrides([f"{key}={text}"])
        is_plain = not parsed.is_sweep_override() and parsed.value() == text
    except ConfigError:
        is_plain = False
    return f"{key}={text}" if is_plain else _with_quotes(key, text)


def first_paragraph(error: Exception) -> str:
    """The fault, without the advice that libraries add."""
    return str(error).strip().splitlines()[0]


def quoted_argument(key: str, text: str) -> str:
    """``key="text"`` to be pasted into a shell."""
    return shlex.quote(_with_quotes(key, text))


def _with_quotes(key: str, text: str) -> str:
    quote = Quote.single if '"' in text else Quote.double
    return f"{key}={QuotedString(text, quote).with_quotes()}"


def _quoted(value: Any) -> Any:
    match value:
        case bool():
            return str(value).lower()
        case str():
            is_word = re.fullmatch(r"[A-Za-z_][\w/-]*", value, re.ASCII) and value.lower() not in ("null", "true", "false", "nan", "inf")
            return value if is_word else QuotedString(value, Quote.single)
        case list() | tuple():
            return [_quoted(element) for element in value]
        case Mapping():
            return {key: _quoted(element) for key, element in value.items()}
        case _:
            return value


def experiment_as_key(arguments: Sequence[str]) -> list[str]:
    """Read ``promote experiment=NAME`` as MLflow's experiment; Hydra would take it for a config of the group ``conf/experiment``."""
    return [re.sub(r"^experiment=", "experiment_name=", argument) for argument in arguments]


def model_as_uri(arguments: Sequence[str]) -> list[str]:
    """Read ``predict model=…`` as a URI in any form; Hydra would take it for a config of the group ``model``."""
    return [re.sub("^model=", "model.uri=", argument) for argument in arguments]
