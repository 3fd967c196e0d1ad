from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.gowalla import gowalla_m1


def test_gowalla_keeps_the_published_split_and_validates_on_the_latest_tenth_of_train(tmp_path: Path) -> None:
    raw = tmp_path / "gowalla-m1"
    raw.mkdir()
    (raw / "train.txt").write_text("0 1 2 3 4 5\n1 6 7\n2\n3 0 1 2 4 5 6 7 9 3\n")
    (raw / "test.txt").write_text("0 8\n2 9\n")
    options = gowalla_m1(tmp_path, tmp_path)
    rows = pq.read_table(tmp_path / "events.parquet").to_pylist()
    of_first = [row for row in rows if row["user_id"] == 0]
    assert [row["split"] for row in of_first] == ["train"] * 4 + ["valid", "test"]
    assert [row["video_id"] for row in of_first] == [1, 2, 3, 4, 5, 8]
    assert [row["position"] for row in of_first] == [0, 1, 2, 3, 4, 5]
    assert [(r["video_id"], r["split"]) for r in rows if r["user_id"] == 1] == [(6, "train"), (7, "train")]
    assert [(r["video_id"], r["split"]) for r in rows if r["user_id"] == 2] == [(9, "test")]
    of_last = [(row["video_id"], row["split"]) for row in rows if row["user_id"] == 3]
    assert [video for video, _ in of_last] == [3, 0, 1, 2, 4, 5, 6, 7, 9]
    assert [split for _, split in of_last] == ["train"] * 8 + ["valid"]
    assert pq.read_table(tmp_path / "videos.parquet")["video_id"].to_pylist() == list(range(10))
    assert options[0] == "data=files"
    assert f"data.videos={tmp_path / 'videos.parquet'}" in options
