"""The codes of how long ago something was: what :mod:`towers.models.history.since` and machine code agree on."""

BUCKETS = 64
"""Codes of a time since an event: 0 unknown, then two for each doubling of 1 s + the time, to 68 years."""
HALF_OCTAVES, FIRST = 22, 253
"""A float32's bits but the last 22 count half octaves, from 1 to 1.5 and on to 2; those of 1 are 254."""
