"""A model in a store, and what MLflow's guarded server answers for it."""

import json

import pytest
from tests.serving.bundles import make_bundle

from clickflow.serving.server_guard import Limits, guarded
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.logged_model import load_model, log_model

collect_ignore = ["models_of_0_1/make.py"]  # it imports version 0.1


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


@pytest.fixture(scope="module")
def model(store, bundle):
    with open_run(store, name="requests", params={}, tags={}, log_system_metrics=False) as run:
        yield load_model(store, log_model(run, bundle))


@pytest.fixture
def scoring_server():
    from mlflow.pyfunc import scoring_server  # at the top MLflow's warnings about its own type hints would stop the import

    return scoring_server


@pytest.fixture
def answer(model, scoring_server):
    """What the guarded server answers to a body: status and what its JSON holds."""
    invoke = guarded(scoring_server.invocations, Limits(), scoring_server.InvocationsResponse)

    def of(body, content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = invoke(data, content_type, model, model.metadata.get_input_schema())
        return response.status, json.loads(response.response)

    return of
