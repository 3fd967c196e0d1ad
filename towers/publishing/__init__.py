"""A trained run → an immutable bundle, proven before it is pointed to."""

from typing import TYPE_CHECKING

from towers.lazy import names_of

if TYPE_CHECKING:
    from towers.publishing.bundle import Bundle
    from towers.publishing.publisher import Histories, PublishConfig, publish
    from towers.publishing.versions import current_name, point_to, version_names

_MODULES = {
    "bundle": ("Bundle",),
    "publisher": (
        "Histories",
        "PublishConfig",
        "publish",
    ),
    "versions": (
        "current_name",
        "point_to",
        "version_names",
    ),
}
__getattr__ = names_of(__name__, _MODULES)

__all__ = [
    "Bundle",
    "Histories",
    "PublishConfig",
    "current_name",
    "point_to",
    "publish",
    "version_names",
]
