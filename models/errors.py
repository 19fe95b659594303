"""Every way in which a model can fail to load. Each error has a stable code and says what to do about it."""


class ModelError(ValueError):
    """A model cannot be had as asked. `str(error)` is one line for a person; `code` is for programs."""

    code = "model_error"


class UnknownModel(ModelError):
    """No architecture, weights tag, file or folder goes by that name."""

    code = "unknown_model"


class WeightsUnavailable(ModelError):
    """The name is right but the weights are not here and could not be downloaded."""

    code = "weights_unavailable"


class BadWeights(ModelError):
    """The files are here but do not hold this model: damaged, of another architecture, or not plain tensors."""

    code = "bad_weights"


class MissingDependency(ModelError):
    """The model needs a package that is not installed."""

    code = "missing_dependency"


class BadModel(ModelError):
    """The class is there, but what it says of itself, or gives, is not what a model has to say or give."""

    code = "bad_model"
