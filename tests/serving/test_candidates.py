import pandas as pd
import pytest
from tests.serving.bundles import make_bundle

from clickflow.errors import DataError
from clickflow.serving.candidates import CandidateRows
from clickflow.serving.encoder import Encoder

ENCODER = Encoder(make_bundle())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"item": [10], "history": [[20, 1.5]]}, "column 'history', row 7 = 1.5: not an integer id"),
        ({"item": [[10, 20], ["x"]], "history": [[], []]}, "column 'item', row 8 = 'x': not an integer id"),
        ({"item": [[10, 20], [30]], "history": [[], []], "city": [7, "x"]}, "column 'city', row 8 = 'x': not an integer id"),
        ({"item": [[10, 20], [30]], "history": [[], 5]}, "column 'history', row 8 = 5: not a list of item ids"),
        ({"item": [10, 20], "history": [[], []], "city": [7, [7]]}, r"column 'city', row 8 = \[7\]: a list, but column 'item'"),
    ],
)
def test_rows_of_messages_are_counted_from_the_first_row(rows, message):
    with pytest.raises(DataError, match=f"^{message}"):
        CandidateRows(pd.DataFrame(rows), first_row=7).encoded(ENCODER)


def test_wrong_ids_before_the_latest_behaviours_are_not_looked_at():
    rows = pd.DataFrame({"item": [10, 10], "history": [["x", 20, 30, 40], [20, 30, 40]]})
    batch = CandidateRows(rows).encoded(ENCODER)
    assert batch.lengths.tolist() == [3, 3]


def test_rows_of_one_user_share_its_history():
    rows = pd.DataFrame({"item": [10, 20, 30], "history": [[20, 30], [20, 30], []]})
    batch = CandidateRows(rows).encoded(ENCODER)
    assert (batch.history_of.tolist(), batch.history.shape[1]) == ([0, 0, 1], 2)
