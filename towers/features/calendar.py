"""How moments are read: hours of the day and days of the week, in UTC."""

CONTEXT_SIZES = (25, 8)
"""Codes of hour and weekday, 0 = unknown."""
HOUR_MS = 3_600_000
THURSDAY = 3
"""1 January 1970; weekdays count from Monday = 0."""
