"""The one place that knows which kinds of master keys there are. What a kind needs is loaded where it is used."""

from collections.abc import Sequence
from itertools import groupby

from pipeline.errors import InvalidSettings
from serving.storage.key_address import AwsKey, MasterKey, VaultKey
from serving.storage.master import LocalMaster, Master, SeveralMasters


def masters(keys: Sequence[MasterKey], kept_s: float) -> Master:
    """Who has these master keys, of which the first one wraps.

    Args:
        kept_s: for how long what a service unwrapped is kept, seconds.

    Raises:
        InvalidSettings: what speaks to a service is not installed; or two keys have one name.
    """
    made: list[Master] = []
    for is_here, group in groupby(keys, lambda key: isinstance(key, bytes)):
        if is_here:
            made.append(LocalMaster([key for key in group if isinstance(key, bytes)]))
        else:
            made += [_remote(key, kept_s) for key in group if not isinstance(key, bytes)]
    names = [master.name for master in made]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidSettings(
            f"storage.old_master_keys: {twice[0]} is there twice, and what was wrapped would not say by which; "
            "give the new key another name"
        )
    return made[0] if len(made) == 1 else SeveralMasters(made)


def _remote(key: AwsKey | VaultKey, kept_s: float) -> Master:
    from serving.storage.remote_master import RemoteMaster

    if isinstance(key, AwsKey):
        from serving.storage.aws_kms import AwsKms

        return RemoteMaster(AwsKms(key), kept_s)
    from serving.storage.vault_transit import VaultTransit

    return RemoteMaster(VaultTransit(key), kept_s)
