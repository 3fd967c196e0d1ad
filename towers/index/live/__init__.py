"""An index that lives through additions, changes and removals, and through crashes."""

from towers.index.live.health import Health
from towers.index.live.journal import Change
from towers.index.live.live import Live
from towers.index.live.living import living
from towers.index.live.opening import Recovered
from towers.index.live.parts import Upkeep

__all__ = ["Change", "Health", "Live", "Recovered", "Upkeep", "living"]
