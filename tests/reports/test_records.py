import csv
import gzip
import math
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.reports.records import PairRecord, read_records, record_values, write_records

RECORDS = [
    PairRecord(0, 1, "2007_a", "2007_b", ("cat", "person"), 0.5, 1 / 3, True, False, 0.01, 0.5),
    PairRecord(0, 2, "2007_a", "odd, id", ("cat",), 0.25, math.nan, False, True, 0.05, 0.0),
    PairRecord(1, 2, "2007_b", "odd, id", (), 1.0, 0.125, True, True, 0.2, 0.049),
]


def test_pairs_survive_the_file(tmp_path: Path) -> None:
    write_records(tmp_path / "new", RECORDS)
    found = read_records(tmp_path / "new")
    assert [record[:5] + record[7:] for record in found] == [record[:5] + record[7:] for record in RECORDS]
    assert found[0].jaccard_b == 0.333333
    assert math.isnan(found[1].jaccard_b)
    first = (tmp_path / "new" / "pairs.csv").read_text().splitlines()[:2]
    assert first[0] == "i,j,id_a,id_b,classes,jaccard_a,jaccard_b,distractor_a,distractor_b,share_a,share_b"
    assert first[1] == "0,1,2007_a,2007_b,cat person,0.500000,0.333333,1,0,0.010000,0.500000"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pairs.csv"]


def test_a_compressed_table_is_the_same_and_takes_the_place_of_the_other(tmp_path: Path) -> None:
    write_records(tmp_path, RECORDS * 50)
    plain = (tmp_path / "pairs.csv").read_bytes()
    wanted = read_records(tmp_path)
    write_records(tmp_path, RECORDS * 50, compressed=True)
    (path,) = tmp_path.iterdir()
    assert path.name == "pairs.csv.gz"
    assert gzip.decompress(path.read_bytes()) == plain and len(path.read_bytes()) < len(plain) / 5
    assert repr(read_records(tmp_path)) == repr(wanted)
    again = path.read_bytes()
    write_records(tmp_path, RECORDS * 50, compressed=True)
    assert path.read_bytes() == again

    for damaged in (again[:-20], b"i,j", again[:30] + bytes(20) + again[50:]):
        path.write_bytes(damaged)
        with pytest.raises(CosegError, match=r"pairs\.csv\.gz is damaged .* [Rr]un the test again"):
            read_records(tmp_path)
    write_records(tmp_path, RECORDS)
    assert [left.name for left in tmp_path.iterdir()] == ["pairs.csv"]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    write_records(tmp_path, RECORDS)
    wanted = read_records(tmp_path)
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    with path.open("w", newline="") as file:  # columns turned around, and one of a later version
        csv.writer(file).writerows([*line[::-1], "area" if k == 0 else "12"] for k, line in enumerate(table))
    assert repr(read_records(tmp_path)) == repr(wanted)  # nan is not equal to itself


def test_a_table_of_an_earlier_version_has_no_shares(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    write_records(tmp_path, RECORDS)
    path.write_text(
        "".join(f"{line.rsplit(',', 2)[0]}\n" for line in path.read_text().splitlines() if "odd" not in line)
    )
    (record,) = read_records(tmp_path)
    assert (record.jaccard_a, record.distractor_a) == (0.5, True)
    assert math.isnan(record.share_a)
    assert math.isnan(record.share_b)


def test_values_of_the_two_scores() -> None:
    jaccard, distractor = record_values(RECORDS, "jaccard"), record_values(RECORDS, "jaccard_distractor")
    assert jaccard[:, 0].tolist() == [0.5, 0.25, 1.0]
    assert distractor[~(distractor != distractor)].tolist() == [0.5, 1.0, 0.125]
    assert record_values([], "jaccard").shape == (0, 1)
    with pytest.raises(ValueError, match="no jaccard_global"):
        record_values(RECORDS, "jaccard_global")


def test_damaged_and_missing_tables_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    with pytest.raises(CosegError, match=r"There is no .*pairs\.csv"):
        read_records(tmp_path)
    path.write_text("a,b\n")
    with pytest.raises(CosegError, match="its first line lacks i, j, id_a"):
        read_records(tmp_path)
    write_records(tmp_path, RECORDS)
    path.write_text(path.read_text() + "0,1,x\n")
    with pytest.raises(CosegError, match=r"pairs\.csv, line 5, is damaged"):
        read_records(tmp_path)
