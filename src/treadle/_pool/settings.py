"""What a user sets for a pool, checked."""

from __future__ import annotations

from treadle._pool.engine import Policy

__all__ = ["checked_policy"]


def checked_policy(policy: Policy) -> Policy:
    if policy.timeout is not None and not policy.timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, not {policy.timeout}")
    if policy.retries < 0 or policy.backoff < 0:
        raise ValueError("retries and backoff must not be negative")
    return policy
