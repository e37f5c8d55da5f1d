from pathlib import Path

import pytest
import yaml

from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.tracking.config import TrackingConfig

CONF = Path(__file__).parents[2] / "conf" / "tracking"


@pytest.mark.parametrize(("name", "uri"), [("local", None), ("server", "http://127.0.0.1:5000")])
def test_shipped_configs_are_valid_and_leave_the_experiment_to_the_pipeline(name, uri):
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert set(values) == set(TrackingConfig.model_fields) - {"experiment_name"}
    assert validate(TrackingConfig, values) == TrackingConfig(uri=uri)


def test_all_faults_of_a_tracking_config_are_listed():
    with pytest.raises(ConfigError) as caught:
        validate(TrackingConfig, {"log_system_metric": False, "uri": "", "experiment_name": "x" * 501})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("3 problems in")
    assert [line.split()[0] for line in lines[1:]] == ["uri", "experiment_name", "log_system_metric:"]
    assert lines[3].endswith("did you mean log_system_metrics?")
