"""``zoo survey table`` through its entry: which answers count, and what the numbers mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from surveys import HEAD, Zoo, answer, data, key, tell, zoo

from zoo.survey.statistics import agreement, estimate

__all__ = ["data", "key", "tell", "zoo"]
Tell = Callable[..., tuple[int, str, str]]
BY_MODEL = {"carbon": 1, "ochre": -2}


def rate(model: str, _: str) -> int:
    return BY_MODEL[model]


# -- which answers count ------------------------------------------------------------------------------------------


def test_the_table(tell: Tell, key: dict[str, Any]) -> None:
    other = answer(key, lambda model, name: BY_MODEL[model] + (name in "ab"), "Bo")
    code, out, err = tell(answer(key, rate), other)
    assert code == 0 and not err
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:3] == ["similarity", "carbon", "1.25"] and lines[1][-3:] == ["2", "4", "8"]
    assert lines[2][:3] == ["similarity", "ochre", "-1.75"]
    assert lines[5][:6] == ["similarity", "carbon", "-", "ochre", "3.00", "3.00"]
    assert lines[11][:4] == ["Ada", "8", "2.5", "-0.50"] and lines[12][:4] == ["Bo", "8", "2.5", "0.00"]

    told = json.loads(tell(answer(key, rate), other, options=("--json",))[1])
    assert told["page"] == key["page"] and told["level"] == 0.95
    mean = told["means"][0]["estimate"]
    assert mean["mean"] == 1.25 and (mean["raters"], mean["items"], mean["ratings"]) == (2, 4, 8)
    assert mean["interval"][0] < 1.25 < mean["interval"][1] <= 2
    assert told["differences"][0]["estimate"]["interval"] == [3, 3]
    assert 0 < told["agreement"]["similarity"] < 1


def test_a_spreadsheets_file_a_folder_and_a_formulas_name(
    tell: Tell, zoo: Zoo, key: dict[str, Any], tmp_path: Path
) -> None:
    name = '\'=1+""1"", 山田'
    assert tell(answer(key, rate, name))[1].splitlines()[-1].startswith('=1+"1", 山田')
    semicolons = [line.replace(",", ";").replace('"', "") for line in answer(key, rate)]
    folder = tmp_path / "answers"
    folder.mkdir()
    text = "\n".join([HEAD.replace(",", ";"), *semicolons, ";;;;;;;"])
    (folder / "one.csv").write_text(text, encoding="utf-8")
    code, out, err = zoo("table", folder, "--key", tmp_path / "page.key.json")
    assert code == 0 and out.splitlines()[-1].startswith("Ada")
    assert err == "zoo: one rater: the intervals tell how photographs differ, not how people do\n"


def test_of_a_rater_with_two_files_the_newest_counts(tell: Tell, key: dict[str, Any]) -> None:
    new, old = answer(key, rate, day=2), answer(key, lambda *_: 0, day=1)
    for files, newer in (((new, old), "0.csv"), ((old, new), "1.csv")):
        code, out, err = tell(*files)
        assert code == 0 and out.splitlines()[1].split()[2] == "1.00"
        assert "Ada has two files: " in err and f"{newer} counts" in err


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (5, "3", "the rating '3' is not one of -2, -1, 0, 1, 2"),
        (5, "", "the rating '' is not one of"),
        (5, "1,1", "it has not 8 values"),
        (3, "rfff", "the page has no result rfff of item"),
        (2, "ifff", "of item ifff"),
        (4, '"mood"', "the page has no question 'mood'"),
        (1, '""', "it does not say whose it is"),
        (1, '"Ada', "it has not 8 values"),
        (6, "long", "cannot read 'long' seconds"),
        (7, "yesterday", "at 'yesterday'"),
        (7, "2026-01-01\r\n", "it has not 8 values"),
    ],
)
def test_a_damaged_line_is_named_and_left_out(
    tell: Tell, key: dict[str, Any], place: int, value: str, said: str
) -> None:
    lines = answer(key, rate)
    cells = lines[2].split(",")
    cells[place] = value
    lines[2] = ",".join(cells) if "\r\n" not in value else "torn"
    code, out, err = tell(lines, answer(key, rate, "Bo"))
    assert code == 6 and "0.csv, line 4: " in err and said in err
    assert "zoo: Ada gave 7 of 8 ratings\n" in err and "1 lines were left out" in err
    assert sorted(line.split()[-1] for line in out.splitlines()[1:3]) == ["7", "8"]


def test_what_is_there_twice_counts_once(tell: Tell, key: dict[str, Any]) -> None:
    lines = answer(key, rate)
    code, out, err = tell([*lines, lines[0].replace(",2.5,", ",9,")])
    assert code == 6 and "line 10: it is rated twice" in err and out.splitlines()[-1].split()[:3] == ["Ada", "8", "2.5"]


def test_answers_that_are_refused(tell: Tell, zoo: Zoo, key: dict[str, Any], tmp_path: Path) -> None:
    strange = [line.replace(key["page"], "p000000000000") for line in answer(key, rate)]
    code, out, err = tell(answer(key, rate, "Bo"), strange)
    assert code == 2 and not out and "1.csv answers another page: p000000000000" in err
    code, _, err = tell(answer(key, rate), head="name,mark")
    assert code == 2 and "0.csv is not a file of ratings" in err
    assert tell(["no", "line", "counts"])[0] == 2
    assert "0.csv is not a file of ratings" in tell([], head="")[2]
    (tmp_path / "0.csv").write_bytes(f"{HEAD}\n".encode() + "山田".encode("cp932"))
    assert "0.csv is not UTF-8" in zoo("table", tmp_path / "0.csv", "--key", tmp_path / "page.key.json")[2]
    code, _, err = zoo("table", tmp_path / "none.csv", "--key", tmp_path / "page.key.json")
    assert code == 3 and "none.csv" in err
    assert zoo("table", tmp_path / "photos", "--key", tmp_path / "page.key.json")[0] == 3  # a folder without answers
    assert zoo("table", tmp_path / "0.csv", "--key", tmp_path / "no.json")[0] == 3
    (tmp_path / "bad.json").write_text("{}")
    assert zoo("table", tmp_path / "0.csv", "--key", tmp_path / "bad.json")[0] == 5


# -- what the numbers mean ----------------------------------------------------------------------------------------


def test_an_interval_by_hand() -> None:
    """Raters' means 0 and 1, photographs' 0, 0.5, 1; sums of squares 1.5, 1 and 0 left over."""
    found = estimate(np.array([[-0.5, 0, 0.5], [0.5, 1, 1.5]]), 9)
    spread = 0.25, 1 / 12  # 1.5/1/(2·3) of raters, 1/2/(2·3) of photographs
    variance = sum(spread)
    freedom = variance**2 / (spread[0] ** 2 / 1 + spread[1] ** 2 / 2)
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    assert found.mean == 0.5 and found.interval == pytest.approx((0.5 - half, 0.5 + half))


def test_an_interval_by_the_mean_squares() -> None:
    """Of a full table the variance of the mean is (MS_raters + MS_photographs - MS_rest) / number of ratings."""
    ratings = np.random.default_rng(0).normal(size=(4, 6)) + [[0], [1], [0], [3]] + np.arange(6)
    rater, photo = ratings.mean(1, keepdims=True), ratings.mean(0)
    mean = ratings.mean()
    squares = np.array([6 * rater.var(ddof=1), 4 * photo.var(ddof=1)])
    rest = ((ratings - rater - photo + mean) ** 2).sum() / (3 * 5)
    variance = (squares.sum() - rest) / 24
    half = stats.t.ppf(0.975, variance**2 / ((squares / 24) ** 2 / [3, 5]).sum()) * variance**0.5
    assert estimate(ratings, 99).interval == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize("turned", [False, True])
def test_one_rater_or_one_photograph_gives_students_interval(turned: bool) -> None:
    values = np.array([[1, -1, 0, 2, 1, np.nan]])
    found = estimate(values.T if turned else values, 9)
    wanted = stats.t.interval(0.95, 4, 0.6, stats.sem(values[0, :5]))
    assert found.interval == pytest.approx(wanted) and found.ratings == 5


def test_a_single_rating_has_no_interval_and_equal_ones_have_no_width() -> None:
    assert estimate(np.array([[np.nan, 1]]), 2).interval is None
    assert estimate(np.full((3, 4), 2.0), 2).interval == (2, 2)


@pytest.mark.parametrize(("raters", "items", "holes"), [(10, 20, 0), (10, 6, 0), (4, 15, 0), (10, 20, 0.1)])
@pytest.mark.parametrize("spread", [(0.5, 0.5, 0.8), (0.1, 0.8, 0.5), (0.8, 0.2, 0.5)])
def test_the_interval_holds_the_truth_as_often_as_it_says(
    raters: int, items: int, holes: float, spread: tuple[float, float, float]
) -> None:
    """Simulated: levels of raters, of photographs and what is left, rounded to the scale. Neither may be fixed."""
    draw = np.random.default_rng(raters * items)
    points = np.arange(-1.5, 2)  # above which the next rating begins
    truth = -2 + stats.norm.sf(points, 0.4, np.linalg.norm(spread)).sum()
    tries, hits = 400, 0
    for _ in range(tries):
        levels = (
            deviation * draw.normal(size=shape)
            for deviation, shape in zip(spread, [(raters, 1), (1, items), (raters, items)])
        )
        ratings = np.clip(np.rint(0.4 + sum(levels)), -2, 2)
        ratings[draw.random(ratings.shape) < holes] = np.nan
        low, high = estimate(ratings, 2).interval or (9, 9)
        hits += low <= truth <= high
    assert 0.92 <= hits / tries <= 0.985


def test_agreement_is_krippendorffs() -> None:
    """The example of his paper of 2011, 4 observers and 12 units: alpha for interval data is 0.849."""
    none = np.nan
    observed = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, none, none, none],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, none, 3],
            [none, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, none],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, none],
        ]
    )
    assert agreement(observed) == pytest.approx(0.849, abs=5e-4)
    assert agreement(observed[:1]) is None and agreement(np.ones((2, 3))) is None


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01", "9999-12-31"])
def test_a_time_at_the_edge_of_the_calendar(tell: Tell, key: dict[str, Any], time: str) -> None:
    lines = answer(key, rate)
    lines[0] = ",".join([*lines[0].split(",")[:-1], time])
    code, out, err = tell(lines)
    assert code in (0, 6) and "Ada" in out and "OverflowError" not in err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e300"])
def test_seconds_that_cannot_be(tell: Tell, key: dict[str, Any], seconds: str) -> None:
    lines = [answer(key, rate)[0].replace(",2.5,", f",{seconds},"), *answer(key, rate)[1:]]
    code, _, err = tell(lines)
    assert code == 6 and f"cannot read '{seconds}' seconds" in err


def test_a_raters_name_is_shown_and_not_obeyed(tell: Tell, key: dict[str, Any]) -> None:
    code, out, err = tell(answer(key, rate, "A\x1b]0;b\x07\u202ed"), answer(key, rate, "Bo"))
    assert code == 0 and r"A\x1b]0;b\x07\u202ed" in out
    assert not [sign for sign in out + err if not sign.isprintable() and sign != "\n"]
