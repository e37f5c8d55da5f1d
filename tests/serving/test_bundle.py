"""A bundle says how its histories were made; one of before does not."""

import json

from tests.serving.bundles import make_bundle

from clickflow.data.history_rules import HistoryRules
from clickflow.serving.bundle import ServingBundle


def test_the_rules_of_histories_travel_with_it(tmp_path):
    rules = HistoryRules(history_lag=5, timestamp_unit="order", seed=3)
    bundle = ServingBundle(**{**vars(make_bundle()), "histories": rules})
    bundle.write(tmp_path / "bundle")
    assert ServingBundle.read(tmp_path / "bundle").histories == rules


def test_one_without_rules_is_written_as_before_and_read(tmp_path):
    make_bundle().write(tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle" / "model.json").read_text()).keys() == {"model", "schema", "max_history"}
    assert ServingBundle.read(tmp_path / "bundle").histories is None
