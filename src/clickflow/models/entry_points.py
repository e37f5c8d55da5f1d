"""Models of other packages, whose configs are found by entry points.

    [project.entry-points."clickflow.models"]
    bst = "my_package.bst:BSTConfig"

Finding them reads the metadata of what is installed. A package is imported only when its model is chosen, since it imports torch.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, SchemaValidator, core_schema

from clickflow.config import StrictConfig
from clickflow.errors import ConfigError

GROUP = "clickflow.models"


@cache
def models_of_packages() -> dict[str, tuple[EntryPoint, ...]]:
    """Name of a model -> the entry points of that name: one, unless two packages claim it."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(set(entry_points(group=GROUP)), key=_shown):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


@cache
def config_class(name: str) -> type[StrictConfig]:
    """The config class of another package's model, imported now; a ConfigError if it cannot be, is no such config, or is one of two."""
    point, *others = models_of_packages()[name]
    if others:
        both = " and ".join(_shown(each) for each in (point, *others))
        raise ConfigError(f"model.name = {name}: two packages have a model of this name, {both}; uninstall one of them")
    try:
        found = point.load()
    except Exception as error:  # whatever a package's import raises
        raise _unusable(point, f"cannot be imported ({type(error).__name__}: {error}); mend or reinstall the package") from error
    if not (isinstance(found, type) and issubclass(found, StrictConfig) and callable(getattr(found, "build", None))):
        raise _unusable(point, "no config class; it must derive from clickflow.config.StrictConfig and have build(schema)")
    field = found.model_fields.get("name")
    if field is None or get_args(field.annotation) != (name,) or field.default != name:
        raise _unusable(point, f'the config class must have the entry point\'s name; write name: Literal["{name}"] = "{name}"')
    return found


def package_of(name: str) -> str | None:
    """The package that another package's model comes from, as pip installs it (``my-package==1.0``); None for clickflow's own."""
    points = models_of_packages().get(name, ())
    distribution = points[0].dist if points else None
    return None if distribution is None else f"{distribution.name}=={distribution.version}"


def check_installed(name: str, package: str | None) -> None:
    """Refuse a logged model, by a ConfigError, if the package is not here that :func:`package_of` gave when it was logged."""
    if package is not None and name not in models_of_packages():
        raise ConfigError(f"model.name = {name}: comes from the package {package}, which is not installed; pip install '{package}'")


class ModelsOfPackages:
    """Annotation of the union of clickflow's own models, which makes it take those of other packages, too.

    Attributes:
        further_members: config classes of other packages that were asked for, for messages about their keys.
    """

    def __init__(self, own: frozenset[str]) -> None:
        self.own = own
        self.further_members: tuple[type[StrictConfig], ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The closed union's schema, in a function that looks at the name first."""
        serialized_by_itself = core_schema.simple_ser_schema("any")
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source), serialization=serialized_by_itself)

    def _validate(self, value: Any, validate_own: Callable[[Any], Any]) -> Any:
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        points = models_of_packages()
        if name in self.own and name in points:
            raise _unusable(points[name][0], f"clickflow has a model {name} of its own; the package must name its model otherwise")
        if name in self.own or not isinstance(name, str):
            return validate_own(value)
        if name not in points:
            expected = ", ".join(f"'{known}'" for known in (*self.own, *points))
            raise PydanticKnownError("union_tag_invalid", {"discriminator": "'name'", "tag": name, "expected_tags": expected})
        found = config_class(name)
        if found not in self.further_members:
            self.further_members += (found,)
        return _validator(found).validate_python(value)


@cache
def _validator(found: type[StrictConfig]) -> SchemaValidator:
    """A union of one, so that the place of a fault names its member, as it does in the union of clickflow's own models."""
    member = {found.model_fields["name"].default: found.__pydantic_core_schema__}
    return SchemaValidator(core_schema.tagged_union_schema(member, discriminator="name"))


def _unusable(point: EntryPoint, what: str) -> ConfigError:
    return ConfigError(f"entry point {_shown(point)}: {what}")


def _shown(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist else ""
    return f"{point.name} = {point.value}{package}"
