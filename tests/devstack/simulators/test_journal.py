from pathlib import Path

import msgspec
import pytest

from devstack.simulators.journal import Journal, Where


class Note(msgspec.Struct):
    name: str
    count: int = 0
    tags: list[str] = []


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "below" / "journal.sqlite3")


def write_and_fail(journal: Journal, name: str) -> None:
    with journal.transaction():
        journal.collection("notes", Note).put(name, Note(name))
        raise ZeroDivisionError


def test_a_document_comes_back_as_its_type(journal: Journal) -> None:
    notes = journal.collection("notes", Note)
    notes.put("a", Note("a", 3, ["x"]))
    assert notes.get("a") == Note("a", 3, ["x"])
    assert notes.get("b") is None


def test_documents_outlive_their_process(tmp_path: Path) -> None:
    Journal(tmp_path / "j").collection("notes", Note).put("a", Note("a"))
    assert Journal(tmp_path / "j").collection("notes", Note).get("a") == Note("a")


def test_a_transaction_is_all_or_nothing(journal: Journal) -> None:
    notes = journal.collection("notes", Note)
    with pytest.raises(ZeroDivisionError):
        write_and_fail(journal, "a")
    assert notes.all() == []


def test_a_transaction_inside_one_is_undone_alone(journal: Journal) -> None:
    notes = journal.collection("notes", Note)
    with journal.transaction():
        notes.put("kept", Note("kept"))
        with pytest.raises(ZeroDivisionError):
            write_and_fail(journal, "undone")
        with journal.transaction():
            notes.put("also kept", Note("also kept"))
    assert [note.name for note in notes.all()] == ["kept", "also kept"]


def test_writing_again_keeps_the_place(journal: Journal) -> None:
    notes = journal.collection("notes", Note)
    for name in ("a", "b", "c"):
        notes.put(name, Note(name))
    notes.put("a", Note("a", 9))
    assert [(note.name, note.count) for note in notes.newest()] == [("c", 0), ("b", 0), ("a", 9)]


def test_pages_go_both_ways(journal: Journal) -> None:
    notes = journal.collection("notes", Note)
    for name in "abcdef":
        notes.put(name, Note(name))
    assert [note.name for note in notes.newest(older_than="d", limit=2)] == ["c", "b"]
    assert [note.name for note in notes.newest(newer_than="b", limit=2)] == ["d", "c"]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (Where("$.count", 2), ["c"]),
        (Where("$.count", 2, "<>"), ["a", "b", "d"]),
        (Where("$.count", 2, ">"), ["d"]),
        (Where("$.count", 1, "<="), ["a", "b"]),
        (Where("$.tags[0]", "odd"), ["b", "d"]),
    ],
)
def test_conditions_look_into_the_document(journal: Journal, condition: Where, names: list[str]) -> None:
    notes = journal.collection("notes", Note)
    for count, name in enumerate("abcd"):
        notes.put(name, Note(name, count, ["odd"] if count % 2 else []))
    assert [note.name for note in notes.all(condition)] == names


def test_a_path_is_a_path(journal: Journal) -> None:
    with pytest.raises(ValueError, match="OR"):
        journal.collection("notes", Note).all(Where("$.name') OR ('1", "1"))


def test_an_index_changes_no_answer(journal: Journal) -> None:
    notes = journal.collection("notes", Note)
    for count, name in enumerate("abc"):
        notes.put(name, Note(name, count))
    journal.index("$.count")
    assert notes.all(Where("$.count", 1)) == [Note("b", 1)]


def test_collections_do_not_see_each_other(journal: Journal) -> None:
    notes, others = journal.collection("notes", Note), journal.collection("others", Note)
    notes.put("a", Note("note"))
    others.put("a", Note("other"))
    notes.clear()
    assert (notes.get("a"), others.get("a")) == (None, Note("other"))
    others.remove("a")
    assert others.all() == []
