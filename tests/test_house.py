"""The structure of the code: which room may import which, and what each name stands for."""

from __future__ import annotations

import house

FLOORS, ARROWS = 14, 171  # at most


def test_every_folder_is_a_room_of_a_known_height() -> None:
    assert {house.room(name) for name in house.modules()} == {"", *house.ROOMS}


def test_nothing_is_imported_from_above() -> None:
    assert house.upward() == []


def test_no_study_imports_another() -> None:
    assert house.between_studies() == []


def test_figures_are_drawn_in_one_room() -> None:
    assert house.importers("matplotlib") == {"report"}


def test_the_house_stays_simple() -> None:
    assert max(house.floors().values()) <= FLOORS
    assert len(house.arrows()) <= ARROWS
    assert len(house.loose()) <= 10


def test_a_name_stands_for_one_thing() -> None:
    assert house.module_names_twice() == []
    assert house.class_names_twice() == []


def test_functions_are_short_enough_to_be_seen_whole() -> None:
    assert house.long_functions() == []


def test_an_import_from_above_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(house, "ROOMS", tuple(reversed(house.ROOMS)))
    assert ("harness.machine.cores", "harness.core.errors") in house.upward()
