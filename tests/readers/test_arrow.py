"""Parquet and saved data sets give what the same rows in JSON give; what is broken is said with its row."""

from __future__ import annotations

import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depcli.errors import BadInput
from depcli.readers import open_reviews
from tests.readers.test_tables import ROW


def many(count: int) -> list[dict]:
    return [{**ROW, "user_id": f"u{n}", "text": f"text {n}"} for n in range(count)]


def test_parquet_gives_what_json_gives(tmp_path):
    rows = many(700)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a", row_group_size=300)
    (tmp_path / "b").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = open_reviews(tmp_path / "a")
    assert (reader.format, list(reader)) == ("parquet", list(open_reviews(tmp_path / "b")))
    assert reader.position[0] == reader.position[1] > 0


def test_times_and_bytes_of_parquet(tmp_path):
    from datetime import datetime

    table = pa.Table.from_pylist([{**ROW, "timestamp": datetime(1970, 1, 1, 0, 0, 10)}, {**ROW, "timestamp": None}])
    pq.write_table(table, tmp_path / "a")
    assert [review.timestamp for review in open_reviews(tmp_path / "a")] == [10.0, None]
    pq.write_table(pa.table({"user_id": ["u"], "asin": ["i"], "text": [b"raw"]}), tmp_path / "a")
    (bad,) = open_reviews(tmp_path / "a")
    assert bad.reason == "the text is bytes, not a string"


@pytest.mark.parametrize(
    ("names", "columns", "words"),
    [
        (["user_id", "asin", "text", "text"], {}, "two columns called 'text'"),
        (["user_id", "asin", "text", "stars"], {"rating": "star"}, "has no column 'star'"),
        (["who", "what", "text", "stars"], {}, "its rows have who, what, text, stars"),
    ],
)
def test_parquet_that_is_no_use(tmp_path, names, columns, words):
    pq.write_table(pa.Table.from_arrays([pa.array(["u"])] * 4, names=names), tmp_path / "a")
    with pytest.raises(BadInput, match=words):
        open_reviews(tmp_path / "a", columns=columns)


def test_parquet_without_rows(tmp_path):
    pq.write_table(pa.table({"user_id": pa.array([], pa.string())}), tmp_path / "a")
    with pytest.raises(BadInput, match="names its columns and has no rows"):
        open_reviews(tmp_path / "a")


def test_parquet_cut_in_half_or_damaged_within(tmp_path):
    pq.write_table(pa.Table.from_pylist(many(5000)), tmp_path / "a", row_group_size=1000, compression="zstd")
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="is a broken parquet file"):
        open_reviews(tmp_path / "a")
    middle = len(whole) // 2
    (tmp_path / "a").write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    read = []
    with pytest.raises(BadInput, match=r"damaged after row \d+ of"):
        for entry in open_reviews(tmp_path / "a"):
            read.append(entry.text)
    assert read == [f"text {n}" for n in range(len(read))] and len(read) >= 1000


def test_parquet_is_not_held_in_memory(tmp_path):
    with pq.ParquetWriter(
        tmp_path / "a", pa.schema([("user_id", pa.string()), ("asin", pa.string()), ("text", pa.string())])
    ) as out:
        for start in range(0, 20_000, 1000):
            rows = [{"user_id": f"u{n}", "asin": "i", "text": f"{n} " * 300} for n in range(start, start + 1000)]
            out.write_table(pa.Table.from_pylist(rows))
    tracemalloc.start()
    assert sum(1 for _ in open_reviews(tmp_path / "a")) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20  # the texts are 36 MB


def saved(folder, splits: dict[str, list[dict]]):
    """As datasets.DatasetDict.save_to_disk() writes it."""
    for name, rows in splits.items():
        (folder / name).mkdir(parents=True)
        table = pa.Table.from_pylist(rows)
        with (
            pa.OSFile(str(folder / name / "data-00000-of-00001.arrow"), "wb") as out,
            pa.ipc.new_stream(out, table.schema) as stream,
        ):
            stream.write_table(table)
        (folder / name / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def test_saved_data_set(tmp_path):
    saved(tmp_path / "set", {"train": many(3), "test": many(5)[3:]})
    reader = open_reviews(tmp_path / "set")
    assert "a saved data set: train, test" in reader.reason
    assert [review.text for review in reader] == [f"text {n}" for n in range(5)]
    assert len(list(open_reviews(tmp_path / "set" / "test"))) == 2


def test_data_set_saved_by_the_library_itself(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the datasets library is not installed")
    rows = [{"user_id": "u", "profile": [{k: v for k, v in ROW.items() if k != "user_id"}], "data": {**ROW, "asin": "j"}}]
    datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)}).save_to_disk(tmp_path / "set")
    reader = open_reviews(tmp_path / "set")
    assert reader.format == "dpl" and [review.asin for review in reader] == ["i", "j"]


def test_broken_data_sets(tmp_path):
    folder = saved(tmp_path / "set", {"test": many(2000)})
    file = folder / "test" / "data-00000-of-00001.arrow"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="breaks off or is damaged after row 0"):
        list(open_reviews(folder))
    file.unlink()
    with pytest.raises(BadInput, match="is a broken data set"):
        open_reviews(folder)
    (folder / "test" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../../etc/passwd"}]}))
    with pytest.raises(BadInput, match="names a file outside itself"):
        open_reviews(folder)


def test_a_date_beyond_every_calendar_breaks_off_with_words(tmp_path):
    rows = {"user_id": ["u"], "asin": ["i"], "text": ["words"], "timestamp": pa.array([2**60], pa.timestamp("ms"))}
    pq.write_table(pa.table(rows), tmp_path / "a")
    with pytest.raises(BadInput, match="damaged after row 0"):
        list(open_reviews(tmp_path / "a"))
