"""KuaiRand-Pure: the log that ships with the package, or the authors' own download."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from towers.data.encoders import Kind
from towers.data.engine import Engine, listed, literal
from towers.data.source import Loaded, Source, Staged, Things
from towers.types import DataError

LOGS = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
BUNDLED = ("history", "log", "users", "videos")
USERS, VIDEOS = "user_features_pure.csv", "video_features_basic_pure.csv"
TRAIN_LAST_DATE, VALID_LAST_DATE = 20220430, 20220503
CUT = {"kind": "date", "train_last_date": TRAIN_LAST_DATE, "valid_last_date": VALID_LAST_DATE,
       "valid_ms": 1_651_334_400_000, "test_ms": 1_651_593_600_000}  # fmt: skip
LABELS = {
    "click": "is_click", "like": "is_like", "follow": "is_follow", "comment": "is_comment", "forward": "is_forward",
    "hate": "is_hate", "long_view": "long_view", "watch_ms": "play_time_ms", "duration_ms": "duration_ms", "tab": "tab",
}  # fmt: skip
USER_FEATURES = {
    **dict.fromkeys(("user_active_degree", "is_live_streamer", "is_video_author"), Kind.categorical),
    **dict.fromkeys(("follow_user_num", "fans_user_num", "friend_user_num", "register_days"), Kind.numeric),
    **dict.fromkeys(
        ("follow_user_num_range", "fans_user_num_range", "friend_user_num_range", "register_days_range"),
        Kind.categorical,
    ),
    **{f"onehot_feat{number}": Kind.categorical for number in range(18)},
}
VIDEO_FEATURES = {
    **dict.fromkeys(("author_id", "video_type", "upload_type", "music_id", "music_type"), Kind.categorical),
    "tag": Kind.multi,
    **dict.fromkeys(("video_duration", "server_width", "server_height", "upload_dt"), Kind.numeric),
}


@dataclass(kw_only=True)
class KuaiRand(Source):
    """KuaiRand-Pure, real views of a short-video app in April and May 2022; positives are long views."""

    folder: str | None = None
    """The authors' own CSV files, unpacked; by default the part that ships with the package is used."""

    def stage(self, engine: Engine) -> Staged:
        """Load the log; the split follows its `date` column, and order follows `time_ms`."""
        if self.folder is None:
            with as_file(files("towers.data") / "bundled") as bundled:
                history, log, users, videos = (bundled / f"{name}.parquet" for name in BUNDLED)
                engine.run("kuairand_bundled_events", history=_parquet(history), log=_parquet(log))
                engine.run("kuairand_users", reader=_parquet(users))
                engine.run("load", name="raw_videos", reader=_parquet(videos))
        else:
            *logs, users, videos = _find(Path(self.folder), (*LOGS, USERS, VIDEOS))
            engine.run("kuairand_folder_events", logs=_csv(*logs))
            engine.run("kuairand_users", reader=_csv(users))
            engine.run("load", name="raw_videos", reader=_csv(videos))
        engine.run("kuairand_split", train_last_date=TRAIN_LAST_DATE, valid_last_date=VALID_LAST_DATE)
        return Staged(
            events=_loaded(engine, "raw_events", "the log", (*LABELS.values(), "user_id", "video_id", "time_ms")),
            columns={name: name for name in ("user_id", "video_id", "time_ms", "position", "split")},
            labels=LABELS,
            protocol="kuairand",
            users=Things(
                loaded=_loaded(engine, "raw_users", USERS, USER_FEATURES), id="user_id", features=USER_FEATURES
            ),
            videos=Things(
                loaded=_loaded(engine, "raw_videos", VIDEOS, VIDEO_FEATURES), id="video_id", features=VIDEO_FEATURES
            ),
            positive="long_view = 1",
            cut=dict(CUT),
        )


def _find(folder: Path, names: Iterable[str]) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"{path.name} is not in data.folder={folder}; expected the unpacked KuaiRand-Pure/data folder of "
                f"the authors, with {', '.join(names)}; leave data.folder out for the log that ships with the package"
            )
    return paths


def _parquet(path: Path) -> str:
    return f"read_parquet({literal(path)})"


def _csv(*paths: Path) -> str:
    return f"read_csv({listed(paths)}, header = true, sample_size = 200000)"


def _loaded(engine: Engine, name: str, origin: str, needed: Iterable[str]) -> Loaded:
    types = engine.types(name)
    types.pop("towers_row")
    loaded = Loaded(name=name, types=types, text=False, origin=origin)
    for column in needed:
        loaded.require(column, "data.folder to the authors' own files, not COLUMN")
    return loaded
