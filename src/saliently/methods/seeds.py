"""Where randomness comes from: the user's seed and the text, never its neighbours in a batch."""

from __future__ import annotations

from hashlib import blake2b


def seed_of(*parts: object) -> int:
    """A whole number below 2^56 from values that tell texts apart."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=7).digest())
