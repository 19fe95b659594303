"""Examples as people keep them: corrections in a file, a folder for each label, and what is known of each frame."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import catalog
from models.training.examples import NOBODY, OTHER, REJECTED, SHOWN, UNKNOWN, BadExamples
from models.training.labelled import Example, Seen, gather, read
from models.training.pictures import embed


def test_corrections_of_a_csv_and_a_jsonl(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("video,start_s,end_s,label,accepted\na.mp4,1,2.5,goal,true\nb.mp4,,,goal,No\n")
    rows, _ = read(table)
    assert rows == [
        Example((tmp_path / "a.mp4").resolve(), "goal", True, 1.0, 2.5),
        Example((tmp_path / "b.mp4").resolve(), "goal", False, 0.0, math.inf),
    ]
    lines = tmp_path / "labels.jsonl"
    lines.write_text(
        '{"video": "a.mp4", "label": "goal", "accepted": true, "start_s": 1, "end_s": 2.5}\n\n'
        '{"video": "b.mp4", "label": "goal", "accepted": false, "end_s": null}\n'
    )
    assert read(lines)[0] == rows


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", "video,label\na.mp4,goal\n", "lacks accepted"),
        ("x.csv", "video,label,accepted,colour\n", "unknown colour"),
        ("x.csv", "video,label,accepted\na.mp4,goal\n", "x.csv:2: another number of columns"),
        ("x.csv", "video,label,accepted\na.mp4,goal,maybe\n", "x.csv:2: accepted is 'maybe'"),
        ("x.csv", "video,label,accepted\na.mp4,,true\n", "no letter or digit"),
        ("x.csv", "video,label,accepted\n,goal,true\n", "video is no path"),
        ("x.csv", "video,label,accepted,start_s\na.mp4,goal,true,soon\n", "start_s is 'soon'"),
        ("x.csv", "video,label,accepted,start_s,end_s\na.mp4,goal,true,5,4\n", "from 5 to 4 s"),
        ("x.csv", "video,label,accepted,start_s\na.mp4,goal,true,nan\n", "no number of seconds"),
        ("x.csv", "video,label,accepted\n", "holds no examples"),
        ("x.jsonl", "{\n", "x.jsonl:1: no JSON"),
        ("x.jsonl", "[1]\n", "no JSON object"),
        ("x.txt", "", "neither a folder nor"),
    ],
)
def test_what_is_wrong_with_a_file_of_labels_is_said(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadExamples, match=said):
        read(tmp_path / name)


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    for name in ("goal/a.mp4", "goal/b.JPG", "goal/notes.txt", "_other/c.mp4", ".hidden/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows, others = read(tmp_path)
    assert [(row.video.name, row.label) for row in rows] == [("c.mp4", None), ("a.mp4", "goal"), ("b.JPG", "goal")]
    assert [one.name for one in others] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadExamples, match="a folder for each label"):
        read(tmp_path / "empty")


def test_what_is_known_of_each_frame() -> None:
    a, b = Path("a"), Path("b")
    rows = [
        Example(a, "goal", True, 0, 2),
        Example(a, "goal", False, 4, 6),
        Example(a, "goal", False, 1, 2),
        Example(a, "save", True, 7, 8),
        Example(b, None),
        Example(b, "goal", True, 1.5, 1.9),
    ]
    seen = {a: Seen(np.arange(9.0), np.eye(9, 4, dtype=np.float32)), b: Seen(np.arange(2.0), np.ones((2, 4)))}
    found = gather(rows, seen)
    assert found.examples.labels == ("goal", "save")
    # a: 0 s goal, 1 s contradicted, 4 and 5 s rejected, 7 s another label's; b: two frames of neither.
    assert found.examples.truth.tolist() == [
        [SHOWN, OTHER],
        [UNKNOWN, OTHER],
        [REJECTED, UNKNOWN],
        [REJECTED, UNKNOWN],
        [OTHER, SHOWN],
        [OTHER, OTHER],
        [OTHER, OTHER],
    ]
    assert found.examples.example[:, 0].tolist() == [0, NOBODY, 1, 1, 3, 4, 4]
    assert found.examples.video.tolist() == [0] * 5 + [1] * 2
    assert (found.without_frames, found.contradicted) == (1, 1)


def test_pictures_are_examples(tmp_path: Path) -> None:
    encoder = catalog.load("bundled", "cpu", "float32").model
    turned = Image.fromarray(np.zeros((20, 40, 3), np.uint8))
    turned.save(tmp_path / "a.png")
    assert embed(tmp_path / "a.png", encoder).shape == (1, encoder.info.dim)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(BadExamples, match=r"b\.jpg cannot be read as a picture"):
        embed(tmp_path / "b.jpg", encoder)
