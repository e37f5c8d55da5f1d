"""Keys that two commands call as one of ``train``'s config groups: Hydra would take them for a choice of the group."""

import re
from collections.abc import Sequence


def experiment_as_key(arguments: Sequence[str]) -> list[str]:
    """``promote experiment=NAME`` means MLflow's experiment, and not a config of the group ``conf/experiment``."""
    return [re.sub(r"^experiment=", "experiment_name=", argument) for argument in arguments]


def model_as_uri(arguments: Sequence[str]) -> list[str]:
    """``predict model=…`` is a URI, also where it is not written like one, and is refused as such: nothing is trained there."""
    return [re.sub("^model=", "model.uri=", argument) for argument in arguments]
