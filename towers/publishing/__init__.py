"""A trained run → an immutable bundle, proven before it is pointed to."""

from towers.publishing.bundle import Bundle
from towers.publishing.publish import Histories, PublishConfig, publish

__all__ = ["Bundle", "Histories", "PublishConfig", "publish"]
