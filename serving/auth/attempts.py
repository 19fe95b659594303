"""How often passwords may be tried: for one account, and from one address."""

from serving.limiting import Limits, Rule
from serving.options import AuthOptions


async def at_account(limits: Limits, options: AuthOptions, account: str) -> None:
    """Count one at an account, whether there is such a one or not. Raises RateLimited."""
    await limits.take(f"sign-in:account:{account}", _rule(options.account_attempts, options))


async def from_address(limits: Limits, options: AuthOptions, address: str) -> None:
    """Count one from an address, or a network of one owner. Raises RateLimited."""
    await limits.take(f"sign-in:address:{address}", _rule(options.address_attempts, options))


def _rule(attempts: int, options: AuthOptions) -> Rule:
    return Rule(per_s=attempts / options.attempts_window_s, burst=attempts)
