"""A trained run → an immutable bundle, proven before it is pointed to."""

from towers.publishing.bundle import Bundle
from towers.publishing.publish import Histories, PublishConfig, publish
from towers.publishing.versions import current_name, point_to, version_names

__all__ = ["Bundle", "Histories", "PublishConfig", "current_name", "point_to", "publish", "version_names"]
