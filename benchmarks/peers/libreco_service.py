"""Fills Redis and writes a FAISS index for LibRecommender's own service, from the vectors of one of our bundles.

    python libreco_service.py FOLDER

FOLDER holds `libserving` of LibRecommender's repository, which its package leaves out, and what `benchmarks.serving`
wrote for it: users.npy and videos.npy, the vectors; user_ids.npy and video_ids.npy; offsets.npy and watched.npy, what
each user has watched. Runs alone in an environment of its own, with a Redis server on port 6379, where the service
looks for one. Redis is filled by the service's own code, and the index has its own settings (80 lists, of which 10 are
searched); its README says the rest: https://github.com/massquantity/LibRecommender/tree/master/libserving
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

LISTS, SEARCHED = 80, 10


def main() -> None:
    """Write what the service reads."""
    import faiss

    folder = Path(sys.argv[1])
    names = ("users", "videos", "user_ids", "video_ids", "offsets", "watched")
    users, videos, user_ids, video_ids, offsets, watched = (np.load(folder / f"{name}.npy") for name in names)
    model = folder / "model"
    model.mkdir(exist_ok=True)
    consumed = {row: watched[offsets[row] : offsets[row + 1]].tolist() for row in range(len(users))}
    told = {
        "model_name": {"model_name": "TwoTower"},
        "user2id": {str(each): row for row, each in enumerate(user_ids.tolist())},
        "id2item": {row: str(each) for row, each in enumerate(video_ids.tolist())},
        "item2id": {str(each): row for row, each in enumerate(video_ids.tolist())},
        "user_consumed": consumed,
        "user_embed": dict(enumerate(users.tolist())),
    }
    for name, what in told.items():
        (model / f"{name}.json").write_text(json.dumps(what), encoding="utf-8")
    # By its path: the package around it asks for LibRecommender and TensorFlow, which serving needs neither of.
    spec = importlib.util.spec_from_file_location("filling", folder / "libserving" / "serialization" / "redis.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{folder} holds no libserving")
    filling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(filling)
    filling.embed2redis(str(model))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(videos.shape[1]), videos.shape[1], LISTS, faiss.METRIC_INNER_PRODUCT)
    index.train(videos)
    index.add(videos)
    index.nprobe = SEARCHED
    faiss.write_index(index, str(folder / "libserving" / "faiss_index.bin"))


if __name__ == "__main__":
    main()
