import json
from clickflow.config import validate, flatten
from clickflow.runs.config import RunConfig
from pipelines.launch import composed_config


class HydraComposer:
    def __init__(self, overrides, config_dir):
        self.o = list(overrides)

    def _c(self, values):
        v = composed_config("sweep", [*self.o, *(f"{k}={json.dumps(x) if not isinstance(x, str) else x}" for k, x in values.items())])
        v.pop("sweep")
        return v

    def keys(self, groups):
        return set(flatten(self._c(groups)))

    def compose(self, values):
        return validate(RunConfig, self._c(values))
