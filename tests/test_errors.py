"""Messages: what they must not tell."""

import pytest

from clickflow.errors import ClickflowError, TrackingError, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://ada:pw@host:5432/db", "postgresql+psycopg://ada:***@host:5432/db"),
        ("https://ada:p/w:x@host/path", "https://ada:***@host/path"),
        ("postgresql://:pw@/db", "postgresql://:***@/db"),
        ("postgresql://host/db?user=ada&password=pw&x=1", "postgresql://host/db?user=ada&password=***&x=1"),
        ("from http://127.0.0.1:5000 to models:/ctr@champion", "from http://127.0.0.1:5000 to models:/ctr@champion"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)
def test_passwords_in_uris_are_hidden_and_nothing_else(text, shown):
    assert without_passwords(text) == shown


@pytest.mark.parametrize("kind", [ClickflowError, TrackingError])
def test_no_error_that_reaches_the_user_tells_a_password(kind):
    assert str(kind("tracking.uri = mysql://ada:pw@host/db: no")) == "tracking.uri = mysql://ada:***@host/db: no"
