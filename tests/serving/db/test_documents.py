"""JSON columns, read as text and as objects: the same comes of it."""

import msgspec
import pytest

from pipeline.spec import AnalysisSpec
from serving.api.problem import Problem
from serving.db.documents import Document


@pytest.mark.parametrize("nothing", ["{}", "null", {}, None])
def test_a_column_without_anything_in_it(nothing):
    assert Document[Problem](Problem).read_any(nothing) is None


def test_text_and_objects_are_the_same():
    spec = AnalysisSpec()
    document = Document[AnalysisSpec](AnalysisSpec)
    text = msgspec.json.encode(spec).decode()
    assert document.read(text) == document.read(msgspec.json.decode(text)) == spec
    assert document.read_any(text) == spec
    assert document.read("{}") == document.read({}) == AnalysisSpec()


@pytest.mark.parametrize("wrong", ['{"seed": "x"}', {"seed": "x"}, "[]", []])
def test_what_is_something_else_is_refused(wrong):
    with pytest.raises(msgspec.ValidationError):
        Document[Problem](Problem).read(wrong)
