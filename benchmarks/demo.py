"""Measures what the whole way takes: `scripts/run.sh`, from the raw log to candidates, its environment being there.

bash scripts/run.sh && rm -r runs/demo && python -m benchmarks.demo
"""

from benchmarks.quality import spend
from benchmarks.record import CHECKOUT, Circumstances, record


def main() -> None:
    """Run it and record a row.

    Raises:
        SystemExit: What it would make is there already, so that little would be left to do.
    """
    made = CHECKOUT / "runs" / "demo"
    if made.exists():
        raise SystemExit(f"{made} is there, so the demo would go on with it; remove it first")
    cost = spend(["bash", str(CHECKOUT / "scripts" / "run.sh")])
    how = Circumstances(command="python -m benchmarks.demo", seed=0, seconds=cost.seconds, peak_mb=cost.peak_mb)
    record("demo", [{"what": "scripts/run.sh, environment there"}], how)


if __name__ == "__main__":
    main()
