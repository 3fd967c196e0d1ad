"""Which point is best, which is nearest, and what is said of it; the arithmetic beside."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.index import Point, Wish


def point(reach: int, recall: float, p50_us: float, **more: Any) -> Point:  # noqa: ANN401 - any field
    figures: dict[str, Any] = {"p99_us": 2.0 * p50_us, "memory_mb": 5.0, "build_s": 1.0}
    return Point(kind="ivf", options={"reach": reach}, recall=recall, p50_us=float(p50_us), **(figures | more))


CURVE = [point(1, 0.93, 35), point(2, 0.985, 40), point(3, 0.998, 43), point(4, 0.9999, 70)]
EXACT = Point(kind="exact", options={}, recall=1.0, p50_us=300.0, p99_us=400.0, memory_mb=4.0, build_s=0.1)


def test_the_fastest_that_holds_is_best() -> None:
    assert Wish(recall=0.9999).best([EXACT, *CURVE]).name == "ivf reach=4"
    assert Wish(recall=1.0).best([EXACT, *CURVE]).name == "exact"


def test_of_equal_speeds_the_higher_recall_is_best() -> None:
    # 43 is within a tenth of 40, not of 35; 40 is beyond it too.
    assert Wish(recall=0.98).best([EXACT, *CURVE]).name == "ivf reach=3"
    assert Wish(recall=0.9).best([EXACT, *CURVE]).name == "ivf reach=1"
    same = [point(1, 0.99, 40), point(2, 0.99, 39)]
    assert Wish(recall=0.9).best(same).name == "ivf reach=2"


def test_every_limit_counts() -> None:
    assert Wish(recall=0.98, p99_ms=0.085).best([EXACT, *CURVE]).name == "ivf reach=2"
    assert Wish(recall=0.98, memory_mb=4.5).best([EXACT, *CURVE]).name == "exact"


def test_what_is_asked_for_exactly_is_held() -> None:
    assert Wish(recall=0.985, p99_ms=0.08, memory_mb=5.0).missed(CURVE[1]) == {}


def test_the_nearest_keeps_memory_then_weighs_recall_tenfold() -> None:
    small = point(1, 0.5, 900, memory_mb=3.0)
    assert Wish(recall=0.99, memory_mb=2.0).best([EXACT, *CURVE, small]) is small
    # Within memory: reach 2 misses .005 / .99 tenfold, .051, and 80 µs of 50, .6; reach 1 .61 and 70 of 50, .4.
    assert Wish(recall=0.99, p99_ms=0.05).best([EXACT, *CURVE]) is CURVE[1]


def test_what_is_missed_is_told_with_what_would_do() -> None:
    wish = Wish(recall=0.99, p99_ms=0.05)
    assert wish.why([EXACT, *CURVE], wish.best([EXACT, *CURVE])) == (
        "ivf reach=2: nothing measured holds what was asked, and here recall@100 is 0.985 where 0.99 was asked and "
        # 86 µs and a tenth more; no point holds 0.05 ms at any recall.
        "p99 is 0.08 ms where 0.05 was asked; index.p99_ms=0.0946 would hold"
    )


def test_one_option_is_enough_where_it_is_and_all_are_named_where_it_is_not() -> None:
    # Recall alone: .93 at 70 µs; time alone: .998 at 86 µs.
    assert Wish(recall=0.99, p99_ms=0.075).advice(CURVE, CURVE[1]) == "index.recall=0.93 or index.p99_ms=0.0946"
    assert Wish(recall=0.99, memory_mb=4.5).advice(CURVE, CURVE[1]) == "index.memory_mb=5"
    wish = Wish(recall=0.999, p99_ms=0.03)
    assert wish.advice(CURVE[:1], CURVE[0]) == "index.recall=0.93 and index.p99_ms=0.077"


def test_one_point_alone_is_told_as_such() -> None:
    assert Wish(recall=0.9).why([EXACT], EXACT) == (
        "exact: recall@100 1, p50 300 µs, p99 400 µs, 4 MB beside its vectors; nothing faster is needed"
    )
    assert Wish(recall=0.9, p99_ms=0.1).why([EXACT], EXACT) == (
        "exact: it does not hold what was asked, and here p99 is 0.4 ms where 0.1 was asked; "
        "index.p99_ms=0.44 would hold"
    )


def test_words_never_claim_more_recall_than_there_is() -> None:
    close = point(3, 0.98996, 40)
    assert "recall@100 is 0.9899 where 0.99 was asked; index.recall=0.989 would hold" in Wish(recall=0.99).why(
        [close, close], close
    )


def test_a_manifest_says_a_point_by_the_names_of_its_figures() -> None:
    assert EXACT.told() == {
        "kind": "exact",
        "options": {},
        "recall@100": 1.0,
        "p50_us": 300.0,
        "p99_us": 400.0,
        "memory_mb": 4.0,
        "build_s": 0.1,
        "holds": False,
        "chosen": False,
    }


figures = st.builds(
    point,
    st.just(1),
    st.floats(0.01, 1),
    st.floats(1, 1e4),
    p99_us=st.floats(1, 1e5),
    memory_mb=st.floats(0.01, 1e4),
)
limit = st.none() | st.floats(0.001, 1e4)


@given(st.lists(figures, min_size=1, max_size=9), st.floats(0.01, 1), limit, limit)
def test_the_best_holds_if_any_does_and_the_advice_makes_something_hold(
    points: list[Point], recall: float, memory_mb: float | None, p99_ms: float | None
) -> None:
    wish = Wish(recall=recall, memory_mb=memory_mb, p99_ms=p99_ms)
    best, holding = wish.best(points), [each for each in points if not wish.missed(each)]
    if holding:
        assert best in holding
        assert best.p50_us <= 1.1 * min(each.p50_us for each in holding)
        return
    for way in wish.advice(points, best).split(" or "):
        options = {"recall": wish.recall, "memory_mb": memory_mb, "p99_ms": p99_ms}
        for option in way.split(" and "):
            name, _, value = option.removeprefix("index.").partition("=")
            options[name] = float(value)
        assert any(not Wish(**options).missed(each) for each in points)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("p99_ms", 0.05), ("memory_mb", 4.0), ("recall", 0.999)])
def test_by_which_share_something_is_missed(name: str, value: float) -> None:
    # 86 of 50 µs, 5 of 4 MB, .998 of .999.
    missed = Wish(**({"recall": 0.9} | {name: value})).missed(CURVE[2])
    assert missed == {name: pytest.approx({"p99_ms": 0.72, "memory_mb": 0.25, "recall": 0.001001}[name], rel=1e-3)}
