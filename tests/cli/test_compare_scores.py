"""Scores from elsewhere stand on the page of a comparison, or are refused with their place."""

import json

import pytest

from voxstack.cli.compare_scores import read_scores
from voxstack.core.errors import ConfigError, RequestError

pytestmark = pytest.mark.unit


@pytest.fixture
def written(tmp_path):
    def write(value):
        path = tmp_path / "scores.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


def fault(error, path) -> str:
    with pytest.raises(error) as caught:
        read_scores(path)
    return str(caught.value).replace(str(path), "FILE")


def test_a_row_is_a_row_of_the_table(written):
    path = written({"method": "by <ear>", "rows": [{"voice": "a&b", "MOS": 4.391, "sentences": 24}]})
    page = read_scores(path).html()
    assert "<td>a&amp;b</td>" in page
    assert '<td class="number">4.39</td><td class="number">24</td>' in page
    assert "by &lt;ear&gt;" in page


def test_rows_of_other_columns_are_refused(written):
    path = written({"method": "m", "rows": [{"voice": "a", "MOS": 4.0}, {"voice": "b", "WER": 4.0}]})
    assert fault(ConfigError, path) == (
        'FILE: $.rows[1]: got the columns ["voice", "WER"], want ["voice", "MOS"] as in the first row'
    )


@pytest.mark.parametrize(
    "value",
    ["[]", "{", {"method": "m"}, {"method": "m", "rows": []}, {"method": "m", "rows": [{"a": [1]}]}],
)
def test_what_is_no_table_of_scores_is_refused_with_its_place(written, value):
    assert fault(ConfigError, written(value)).startswith("FILE: $")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "none.json"
    assert fault(RequestError, path) == "FILE: cannot be read: No such file or directory"
