"""What `models.scaffold` writes: templates, with `$name` and the like to be filled in (`$$` is a `$`)."""

from typing import Final

FILES: Final = {
    "README.md": """# $name

A model for Automations. `$name/model.py` is all of it; `docs/models.md` of Automations says what it may say and do.

Install it into the environment that has the command `automations`, and use it:

```
pip install --editable .
automations models check $name
$use
```

A server knows it by the name once it is installed where its workers and engines run; `models.yaml` has the lines.
""",
    "pyproject.toml": """[project]
name = "$distribution"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["numpy"]  # and Automations, which it is installed beside

[project.entry-points."$group"]
$name = "$name.model:$class_name"

[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["$name"]
""",
    "models.yaml": """# For the file that the setting `jobs.models_file` names, or `user_config` of an engine.
models:
  $name: {source: $name, options: {}}
""",
    "$name/__init__.py": '''"""A model for Automations, see `$name.model`."""
''',
}
"""Path -> text, of every kind of model; the README first."""

USES: Final = {
    "classifier": "automations analyze VIDEO --with $name --json report.json",
    "head": "automations analyze VIDEO --model bundled --with $name --json report.json",
    "encoder": "automations analyze VIDEO --model $name --json report.json",
}

MODELS: Final = {
    "classifier": '''"""Tags frames as bright or dark."""

import numpy as np

from models.base import FrameModel, ModelInfo, Score, space_id


class $class_name(FrameModel):
    """Probabilities that a frame is bright, and that it is dark, from its mean brightness."""

    def __init__(self, steepness: float = 12.0) -> None:
        """`steepness`: how fast the probability rises around mid-grey. Options are arguments, by name."""
        self.steepness = steepness
        self.info = ModelInfo(
            name="$name",
            version="1",
            # Whatever changes the numbers has to change the space: it is what stored results are compared by.
            space=space_id(architecture="$name", weights=f"1 {steepness}", preprocessing="mean", dim=2),
            dim=2,
            kind="scores",
            scores=(Score("bright", threshold=0.6), Score("dark", threshold=0.6)),
        )

    def run(self, pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] RGB, a numpy array or a torch tensor on any device -> float32 [N, 2] in 0 to 1."""
        frames = pixels if isinstance(pixels, np.ndarray) else pixels.numpy(force=True)
        brightness = frames.mean(axis=(1, 2, 3), dtype=np.float64) / 255
        bright = 1 / (1 + np.exp(-self.steepness * (brightness - 0.5)))
        return np.stack([bright, 1 - bright], axis=1).astype(np.float32)
''',
    "head": '''"""A score from the vectors of an encoder: neither a decode nor a forward pass of its own."""

import numpy as np

from models.base import Head, ModelInfo, Needs, Score, space_id

SPACE, WIDTH = "$space", $width
"""Of the vectors that it reads: those of `bundled`. `automations models info NAME` prints them of others."""


class $class_name(Head):
    """One linear layer and a sigmoid. Its weights are drawn at random: put yours in their place."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.weight = rng.standard_normal(WIDTH).astype(np.float32)
        self.bias = np.float32(0.0)
        self.info = ModelInfo(
            name="$name",
            version="1",
            # Whatever changes the numbers has to change the space: it is what stored results are compared by.
            space=space_id(architecture="$name", weights=f"1 {seed}", preprocessing=SPACE, dim=1),
            dim=1,
            kind="scores",
            scores=(Score("$name", threshold=0.5),),
            needs=Needs(space=SPACE),
        )

    def run(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [N, WIDTH], of length 1 -> float32 [N, 1] in 0 to 1."""
        return (1 / (1 + np.exp(-(vectors @ self.weight + self.bias)))).astype(np.float32)[:, None]

    def example(self) -> np.ndarray:
        """Two vectors that it has to have an answer to: what it is checked with."""
        return np.eye(2, WIDTH, dtype=np.float32)
''',
    "encoder": '''"""A space of colours, for frames and for texts: what an analysis can be made with."""

import numpy as np

from models.base import Encoder, Likelihood, ModelInfo, space_id

COLOURS = {
    "black": (0, 0, 0),
    "white": (1, 1, 1),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
}


class $class_name(Encoder):
    """The mean colour of a frame, and the colour that a text names."""

    likelihood = Likelihood(scale=12.0, bias=-9.0)
    """The probability that a text fits a frame: sigmoid(scale * cosine + bias)."""
    known_words = frozenset(COLOURS)

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="$name",
            version="1",
            # Whatever changes the numbers has to change the space: vectors of two spaces are never compared.
            space=space_id(architecture="$name", weights="1", preprocessing="mean", dim=4),
            dim=4,
        )

    def run(self, pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] RGB, a numpy array or a torch tensor on any device -> float32 [N, 4], of length 1."""
        frames = pixels if isinstance(pixels, np.ndarray) else pixels.numpy(force=True)
        return _vectors(frames.mean(axis=(1, 2), dtype=np.float64) / 255)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """N texts -> float32 [N, 4], of length 1; grey where none of the words is known."""
        grey = (0.5, 0.5, 0.5)
        named = [[COLOURS[word] for word in text.lower().split() if word in COLOURS] or [grey] for text in texts]
        return _vectors(np.array([np.mean(colours, axis=0) for colours in named]).reshape(-1, 3))


def _vectors(colours: np.ndarray) -> np.ndarray:
    """float64 [N, 3] in 0 to 1 -> float32 [N, 4], of length 1; the fourth is what grey has."""
    rows = np.concatenate([colours - 0.5, np.full((len(colours), 1), 0.2)], axis=1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
''',
}
"""Kind -> `model.py`."""

_CONTRACT: Final = """

def test_it_keeps_the_contract():
    for result in checks($class_name(), $class_name):
        assert result.state != "failed", result
"""

_IMPORTS: Final = """import numpy as np

from models.conformance import checks
from $name.model import $class_name
"""

TESTS: Final = {
    "classifier": _IMPORTS
    + _CONTRACT
    + """

def test_white_is_bright_and_black_is_dark():
    frames = np.stack([np.full((8, 8, 3), 255, np.uint8), np.zeros((8, 8, 3), np.uint8)])
    bright, dark = $class_name().run(frames)
    assert bright[0] > 0.9 > 0.1 > bright[1]
    assert dark[1] > 0.9 > 0.1 > dark[0]
""",
    "head": _IMPORTS
    + _CONTRACT
    + """

def test_vectors_along_its_weights_score_higher():
    head = $class_name()
    along = head.weight / np.linalg.norm(head.weight)
    assert head.run(along[None])[0, 0] > 0.5 > head.run(-along[None])[0, 0]
""",
    "encoder": _IMPORTS
    + _CONTRACT
    + """

def test_a_red_frame_is_nearest_to_red():
    model = $class_name()
    frame = np.zeros((1, 8, 8, 3), np.uint8)
    frame[..., 0] = 255
    names = ["red", "green", "blue", "white", "black"]
    assert names[int(np.argmax(model.run(frame) @ model.embed_text(names).T))] == "red"
""",
}
"""Kind -> `test_model.py`."""
