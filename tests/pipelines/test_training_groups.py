"""The groups optimizer, schedule and regularisation on the command line."""

import pytest

from clickflow.cli.compose import composed_config
from clickflow.cli.search_path import CONF
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import RunConfig
from clickflow.training.config import RegularisationConfig


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def compose(*overrides: str) -> RunConfig:
    return validate(RunConfig, composed_config("train", overrides))


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in ("optimizer", "schedule") for name in choices(group)])
def test_a_yaml_holds_exactly_the_defaults_of_the_config_class_of_its_name(group, name):
    section = getattr(compose(f"{group}={name}"), group)

    assert section.name == name
    assert section == type(section)()


@pytest.mark.parametrize("name", choices("regularisation"))
def test_a_penalty_is_called_as_its_yaml_is(name):
    config = compose(f"regularisation={name}", *(["optimizer.embedding_update=dense"] if name == "l2" else []))

    assert config.regularisation.embedding == name
    assert (config.regularisation.embedding_lambda > 0) == (name != "none")


def test_by_default_the_rate_is_constant_and_nothing_is_penalised_or_clipped():
    config = compose()

    assert config.schedule.name == "constant"
    assert config.regularisation == RegularisationConfig()
    assert config.trainer.gradient_clip_norm is None


def test_full_l2_with_sparse_updates_is_a_contradiction_beside_others():
    message = (
        r"(?s)2 problems.*regularisation\.embedding = l2: changes every row.*set optimizer\.embedding_update=dense.*"
        r"schedule\.patience = 2: training stops after trainer\.patience = 2"
    )
    with pytest.raises(ConfigError, match=message):
        compose("regularisation=l2", "schedule=plateau", "schedule.patience=2")


def test_a_clipping_norm_of_zero_is_refused():
    with pytest.raises(ConfigError, match=r"trainer\.gradient_clip_norm = 0\.0: must be greater than 0"):
        compose("trainer.gradient_clip_norm=0.0")
