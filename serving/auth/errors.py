"""What can go wrong with passwords and sessions, besides what `serving.errors` has."""

from serving.errors import InvalidRequest, ServerError


class SignInAgain(ServerError):
    """Whoever asks signed in too long ago for this."""

    code = "sign_in_again"


class WeakPassword(InvalidRequest):
    """Somebody chose a password that is guessed first."""

    code = "weak_password"
