"""Progress as plain lines: how much is done, how fast, and how long it will still take."""

import pytest

from annotator.cli import output
from annotator.cli.output import BarWatch, PlainWatch


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def test_people_a_second_and_time_left(clock, capsys):
    watch = PlainWatch()
    watch.begin("images pre-labelled", 2000)
    clock[0] += 5
    watch.step(100, 250)
    assert capsys.readouterr().err == ""  # not yet
    clock[0] += 5
    watch.step(100, 250)
    assert capsys.readouterr().err == "images pre-labelled: 200 of 2,000 (50.0 people/s, 1 min 30 s left)\n"
    clock[0] += 90
    watch.step(1800, 4500)
    assert capsys.readouterr().err == "images pre-labelled: 2,000 of 2,000 (50.0 people/s)\n"
    watch.end()


def test_without_people_or_total_it_says_what_it_knows(clock, capsys):
    watch = PlainWatch()
    watch.begin("images read")
    clock[0] += 20
    watch.step(40)
    assert capsys.readouterr().err == "images read: 40 (2.0/s)\n"


def test_the_bar_says_people_a_second(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    watch = BarWatch()
    watch.begin("images pre-labelled", 10)
    watch.step(5, 12)
    watch.end()
    shown = capsys.readouterr().err
    assert "people/s" in shown
    assert "5/10" in shown
