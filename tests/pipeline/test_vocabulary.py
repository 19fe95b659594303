"""Vocabularies: what is typed becomes labels, and what is wrong is said with its place."""

import pytest

from pipeline import vocabulary
from pipeline.errors import InvalidSpec
from pipeline.spec import AnalysisSpec, Label, check

FILE = """
templates = ["a photo of {}", "{} in a video"]
threshold = 0.4

[categories]
animals = ["a dog", "a cat"]

[[label]]
name = "goal"
prompts = ["a ball in a net"]
threshold = 0.7
parent = "sport"

[[label]]
name = "rain"
"""


def test_a_list_of_names():
    assert vocabulary.read(" red, a blue circle ,red,") == (Label(name="red"), Label(name="a blue circle"))


def test_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    dog, cat, goal, rain = vocabulary.read(str(path))
    assert dog == Label(name="a dog", prompts=("a photo of a dog", "a dog in a video"), threshold=0.4, parent="animals")
    assert cat.parent == "animals"
    assert goal == Label(name="goal", prompts=("a ball in a net",), threshold=0.7, parent="sport")
    assert rain.threshold == 0.4
    assert rain.prompts == ("a photo of rain", "rain in a video")
    assert rain.parent is None


def test_a_label_without_prompts_is_asked_for_by_name():
    assert vocabulary.phrases(Label(name="rain")) == ("rain",)
    assert vocabulary.phrases(Label(name="rain", prompts=("wet",))) == ("wet",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("templates = [", "not TOML"),
        ("", "no labels"),
        ("colour = 3", "colour"),
        ("[[label]]\nprompts = ['x']", "name"),
        ("[[label]]\nname = 'x'\nthreshold = 'high'", "label[0].threshold"),
        ("[[label]]\nname = 'x'\nthreshold = 1.5", "labels.x.threshold"),
        ("[[label]]\nname = 'x'\nprompts = ['a', ' ']", "empty prompt"),
        ("[categories]\nanimals = ['dog', 'dog']", "twice"),
        ("[categories]\nanimals = 'dog'", "categories"),
        ("templates = ['a photo']\n[categories]\nanimals = ['dog']", "{}"),
        ("[categories]\nanimals = [" + "'a'," * 1001 + "]", "1001 labels"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, says):
    with pytest.raises(InvalidSpec) as caught:
        vocabulary.parse(text, "mine.toml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("mine.toml: ")


def test_a_missing_file_is_an_invalid_spec(tmp_path):
    with pytest.raises(InvalidSpec, match=r"absent\.toml"):
        vocabulary.read(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize("typed", ["", " , ,"])
def test_nothing_is_no_vocabulary(typed):
    with pytest.raises(InvalidSpec, match="names nothing"):
        vocabulary.read(typed)


def test_the_built_in_vocabularies_are_valid():
    assert {"bundled", "general", "example"} <= set(vocabulary.built_in())
    for name in vocabulary.built_in():
        labels = vocabulary.read(name)
        check(AnalysisSpec(labels=labels))
        assert all(label.parent for label in labels)
        assert all(label.prompts for label in labels)


def test_what_is_written_is_read_as_it_was():
    labels = (
        Label(name='a "dog"\\', prompts=("Hund\n\t\x7f\x1f", "犬 🐕"), threshold=0.125, parent="tier\x85"),
        Label(name="cat", threshold=1, parent='a "dog"\\'),
    )
    assert vocabulary.parse(vocabulary.written(labels), "x") == labels


@pytest.mark.parametrize(
    ("parents", "says", "pointer"),
    [
        ({"a": "a"}, "circle", "/labels/0/parent"),
        ({"x": "y", "a": "b", "b": "c", "c": "a"}, "circle", "/labels/1/parent"),
        ({f"l{n}": f"l{n + 1}" for n in range(8)}, "at most 8", "/labels/0/parent"),
        ({"x": None, "a": "!"}, "cannot be a name", "/labels/1/parent"),
    ],
)
def test_a_hierarchy_ends_somewhere(parents, says, pointer):
    labels = tuple(Label(name=name, parent=parent) for name, parent in parents.items())
    with pytest.raises(InvalidSpec, match=says) as caught:
        check(AnalysisSpec(labels=labels))
    assert caught.value.pointer == pointer


def test_seven_levels_above_a_label_are_not_too_many():
    check(AnalysisSpec(labels=tuple(Label(name=f"l{n}", parent=f"l{n + 1}") for n in range(7))))
