"""What happened since the bundle was made: events, histories, and changes of the catalogue."""

from towers.serving.store.store import Answer, Change, ChangeKind, Event, Export, Health, Id, Store, StoreAwayError

__all__ = ["Answer", "Change", "ChangeKind", "Event", "Export", "Health", "Id", "Store", "StoreAwayError"]
