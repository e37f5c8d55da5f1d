"""Help: every key of the config with its default, what is allowed and what it means; readable where it is narrow or piped."""

import re
from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from clickflow.cli.commands import COMMANDS
from clickflow.cli.compose import composed_config
from clickflow.cli.help import help_text
from clickflow.config import flatten
from clickflow.errors import ConfigError


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def text(name, *overrides):
    return help_text(COMMANDS[name], overrides, None)


def is_choice(annotation):
    """Whether a field says which member of a union it is, as ``name`` of a model does."""
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def classes(annotation):
    """The config classes that an annotation names, and those of their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from classes(field.annotation)
    for argument in get_args(annotation):
        yield from classes(argument)


def test_every_key_of_every_config_says_what_it_means():
    missing = [
        f"{config.__name__}.{key}"
        for config in {found for command in COMMANDS.values() for found in classes(command.config_class)}
        for key, field in config.model_fields.items()
        if not (field.description or is_choice(field.annotation) or list(classes(field.annotation)))
    ]
    assert missing == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_key_of_the_composed_config_is_listed_and_every_line_fits(name):
    shown = text(name)
    keys = {key for key in flatten(composed_config(name, [])) if not re.search(r"(^|\.)(name|source)$", key) or key == "data.name"}
    sections = ("compare.models.", "compare.published.", "sweep.space.", "columns.fields")
    absent = {key for key in keys if not key.startswith(sections) and not re.search(rf"(?m)^  {re.escape(key)}[= ]", shown)}
    assert absent == set()
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_three_examples_whose_groups_and_keys_exist(name):
    shown = text(name)
    examples = shown.split("\nExamples:\n")[1]
    assert len(re.findall(rf"(?m)^  clickflow {name}\b", examples)) == 3
    known = shown + text("prepare", "data=log") if name == "prepare" else shown
    for key in re.findall(r"[ ']([a-z_]+(?:\.[a-z_]+)*)=", examples):
        assert re.search(rf"(?m)^(  )?{re.escape(key)}[= ]", known) or (name, key) == ("evaluate", "model"), key


def test_a_keys_default_what_is_allowed_and_its_meaning():
    shown = text("train")
    assert "\n  trainer.batch_size=1024  (whole number > 0)\n      Rows per training step.\n" in shown
    assert re.search(r"\n  trainer\.monitor=val/gauc  \(val/auc, val/gauc, val/pr_auc, val/log_loss,\s[^)]+\)\n", shown)
    assert "\n  trainer.num_threads=null  (whole number > 0 or null)\n" in shown
    assert "\n  optimizer.beta1=0.9  (number >= 0, < 1)\n" in shown
    assert "\n  input  required  (path)\n" in text("predict")
    assert "\n  history_separator=' '  (text)\n" in text("predict")


def test_the_keys_are_those_of_the_chosen_configs():
    shown = text("train", "model=dien", "schedule=plateau", "++trainer.batch_size=64")
    assert "\nmodel=dien\n  Deep Interest Evolution Network" in shown
    assert "model.evolution=augru  (augru, agru, aigru)" in shown
    assert "attention_input" not in shown
    assert "schedule.patience=1" in shown
    assert "trainer.batch_size=64" in shown


def test_groups_that_do_nothing_there_are_left_out():
    assert not re.search(r"(?m)^(sweep|cluster|experiment|hydra/\w+)=", text("train"))
    assert re.findall(r"(?m)^(\w+)=", text("evaluate")) == ["tracking"]
    assert re.findall(r"(?m)^(\w+)=", text("ui")) == []
    assert {"sweep", "cluster"} <= set(re.findall(r"(?m)^(\w+)=", text("sweep")))
    assert "experiment" in re.findall(r"(?m)^(\w+)=", text("compare"))


def test_a_choice_that_does_not_exist_is_answered_also_with_help():
    with pytest.raises(ConfigError, match=r"model = DIN: no such config; did you mean din\?"):
        text("train", "model=DIN")
