"""Labels files, good and bad: what is read, what is refused with file and line, and what the notes say."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.evaluate.rows import read_jsonl
from infra.training import encodings, labels
from infra.training.encodings import recognise
from infra.training.labels import LabelsError, Rows, read_labels, read_texts, split
from infra.training.verdict import interval95, useless

GOOD = [
    {"text": f"{word}，第 {place} 行的文字很好", "label": label}
    for place in range(10)
    for word, label in (("新手机降价，电池更耐用", "数码"), ("球队赢得了比赛，球迷庆祝", "体育"))
]


def lines(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def texts_of(rows: list[dict[str, str]]) -> Rows:
    return Rows([row["text"] for row in rows], [row["label"] for row in rows])


# What is read -------------------------------------------------------------------------------------------------------


def test_rows_are_cleaned_as_in_serving(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    given_rows: list[dict[str, object]] = [
        {"text": "<b>ＡＢＣ</b>  手机\u200b", "label": 3, "more": {"x": []}},
        {"text": "<br>", "label": "x"},
        {"text": "b", "label": " 3 "},
        {"text": "c", "label": "x"},
    ]
    path.write_bytes(gzip.compress(lines(given_rows).encode()))
    rows = read_labels(path)
    assert rows == Rows(["ABC 手机", "b", "c"], ["3", "3", "x"])
    assert rows.notes[0] == "1 row had no text and were left out, the first on line 2."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_every_encoding_gives_the_same_rows(tmp_path: Path, encoding: str, packed: bool, kind: str) -> None:
    path = tmp_path / f"rows.{kind}{'.gz' if packed else ''}"
    table = "text,label,other\r\n" + "".join(f'"{row["text"]}",{row["label"]},1\r\n' for row in GOOD)
    data = (lines(GOOD) if kind == "jsonl" else table).encode(encoding)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read_labels(path) == texts_of(GOOD)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("big5", "今天天氣很好，我們一起去公園散步吧"),
        ("euc_kr", "오늘은 날씨가 아주 좋습니다. 한국어 문장입니다"),
        ("euc_jp", "今日はとても良い天気です。日本語の文章を書いています"),
        ("shift_jis", "今日はとても良い天気です。日本語の文章を書いています"),
        ("cp1252", "Le café était très bon, à côté de la forêt"),
        ("cp1251", "Сегодня очень хорошая погода, мы идём гулять"),
        ("utf-32", "今天天气很好"),
    ],
)
def test_other_encodings_are_refused_and_never_guessed(file: Path, encoding: str, text: str) -> None:
    file.write_bytes(lines([{"text": text, "label": "a"}, {"text": text, "label": "b"}]).encode(encoding))
    with pytest.raises(LabelsError, match=r"rows\.jsonl: .*(line 1, byte 1\d|UTF-32).*UTF-8"):
        read_labels(file)


def test_damage_is_named_by_line_and_byte(file: Path) -> None:
    data = lines(GOOD).encode()
    at = data.index("第 5 行".encode())
    file.write_bytes(data[:at] + b"\xff" + data[at:])
    line = data[:at].count(b"\n") + 1
    with pytest.raises(LabelsError, match=rf"line {line}, byte {at:,} of the file: the file is UTF-8, but not there"):
        read_labels(file)
    data = lines(GOOD).encode("gb18030")
    at = data.index("第 5 行".encode("gb18030"))
    file.write_bytes(data[:at] + b"\xff" + data[at:])
    with pytest.raises(LabelsError, match=rf"line {line}, byte {at:,} of the file: the file is GB18030, but not"):
        read_labels(file)


def test_a_character_may_lie_across_two_pieces(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "_PIECE", 7)
    for encoding in ("utf-8", "utf-16", "gb18030"):
        file.write_bytes(lines(GOOD).encode(encoding))
        if encoding != "gb18030":
            assert read_labels(file) == texts_of(GOOD)
        else:
            parts = list(encodings._utf8(file, "gb18030"))
            assert b"".join(parts).decode() == lines(GOOD) and len(parts) > 20


def test_texts_without_labels(file: Path) -> None:
    file.write_text('{"text": " a "}\n{"text": ""}\n{"text": "b", "label": ["ignored"]}\n')
    assert read_texts(file) == ["a", "b"]
    file.write_text('{"label": "a"}\n')
    with pytest.raises(LabelsError, match=r"rows\.jsonl, line 1: no text"):
        read_texts(file)


# What is refused ----------------------------------------------------------------------------------------------------

BAD_LINES = [
    '{"text": "a"}',
    '{"text": "a", "label": ""}',
    '{"text": "a", "label": "\\u200b \\u3000"}',
    '{"text": "a", "label": null}',
    '{"text": 1, "label": "a"}',
    '{"text": ["a"], "label": "a"}',
    '{"text": "a", "label": true}',
    '{"text": "a", "label": 0.5}',
    '{"text": "a", "label": ["a"]}',
    '{"text": "a", "label": "' + "x" * 201 + '"}',
    '["a", "b"]',
    '"a"',
    "{",
    "not json",
    '{"text": "\\ud800", "label": "a"}',
    '{"text": "a\0", "label": "a"}',
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_row_is_named(file: Path, line: str) -> None:
    file.write_text('{"text": "a", "label": "b"}\n' + line + "\n")
    with pytest.raises(LabelsError, match=r"rows\.jsonl.* line 2"):
        read_labels(file)


@pytest.mark.parametrize("line", BAD_LINES[:-1])
def test_a_bad_row_can_be_left_out_with_a_note(file: Path, line: str) -> None:
    file.write_text(lines(GOOD * 10) + line + "\n")
    rows = read_labels(file, damaged="leave_out")
    assert rows == texts_of(GOOD * 10)
    assert "line 201" in rows.notes[0] and "left out" in rows.notes[0]


def test_one_row_in_a_hundred_may_lack_its_label(file: Path) -> None:
    file.write_text('{"text": "a"}\n' + lines(GOOD * 5))
    assert read_labels(file).notes[0] == "1 row had no label and were left out, the first on line 1."
    file.write_text('{"text": "a"}\n' * 2 + lines(GOOD * 5))
    with pytest.raises(LabelsError, match=r"line 1: no label; so are 2 of 102 rows, and at most 1% may be"):
        read_labels(file)


PACKED = gzip.compress(lines(GOOD).encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 0: The file is empty"),
        (b"\n \n", "The file is empty"),
        (b"\xef\xbb\xbf", "The file is empty"),
        (gzip.compress(b"", mtime=0), "The file is empty"),
        (PACKED[:-20], "gzip data ends too early"),
        (PACKED[:40] + b"\xff" * 20 + PACKED[60:], "gzip data is damaged"),
        ('{"text": "a", "label": "b"}\n'.encode("utf-16-le") * 2, "line 1 holds a NUL"),
        (b'{"text": " ", "label": "b"}\n' * 3, "line 1: no text; so are 3 of 3"),
        (lines([GOOD[0]] * 3).encode(), "all 3 rows have the label '数码'; a classifier needs at least two"),
    ],
)
def test_a_file_that_cannot_be_used(file: Path, content: bytes, why: str) -> None:
    file.write_bytes(content)
    with pytest.raises(LabelsError, match=f"^rows.jsonl.*{why}"):
        read_labels(file)


def test_a_table_needs_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,class\na,b\n")
    with pytest.raises(LabelsError, match=r"rows\.csv, line 1: The header lacks the column label"):
        read_labels(path)
    path.write_text('text,label\na,b\n"open,c\nd,e\n')
    with pytest.raises(LabelsError, match=r"rows\.csv, line 3: A quote that opens on this line is not closed"):
        read_labels(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"none\.jsonl: the file cannot be read: No such file"):
        read_labels(tmp_path / "none.jsonl")
    with pytest.raises(LabelsError, match="cannot be read: Is a directory"):
        read_labels(tmp_path)


def test_labels_that_are_texts_or_ids_are_refused_before_any_training(file: Path) -> None:
    with file.open("w") as out:
        out.writelines(f'{{"text": "t{place}", "label": "l{place}"}}\n' for place in range(100_000))
    with pytest.raises(LabelsError, match=r"line 1001: more than 1,000 different labels: is the label column"):
        read_labels(file)
    file.write_text(lines([{"text": f"t{place}", "label": min(place, 60)} for place in range(500)]))
    with pytest.raises(LabelsError, match="60 of 61 labels have a single row"):
        read_labels(file)
    assert len(read_labels(file, "test")) == 500


def test_rows_and_bytes_are_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(lines(GOOD))
    monkeypatch.setattr(labels, "MOST_ROWS", 19)
    with pytest.raises(LabelsError, match="more than 19 rows"):
        read_labels(file)
    monkeypatch.setattr(encodings, "MOST_BYTES", 100)
    with pytest.raises(LabelsError, match="more than 100 bytes"):
        read_labels(file)


def test_a_measured_file_may_have_one_label(file: Path) -> None:
    file.write_text('{"text": "a", "label": "b"}\n')
    assert read_labels(file, "test") == read_labels(file, "dev") == Rows(["a"], ["b"])


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["汉字，", "<b>", "&amp;", "<a <a ", " \u200b", "<!--", "é\u0301"])
def test_long_texts_are_cut_in_time_that_grows_with_them(file: Path, unit: str) -> None:
    text = (unit * 100_000)[:100_000] + "x"
    rows = [{"text": f"{label} {text}", "label": label} for label in "ab" * 50]
    file.write_text(lines(rows))
    started = time.process_time()
    found = read_labels(file)
    assert time.process_time() - started < 10  # it is below two seconds; quadratic time would be hours
    assert max(map(len, found.texts)) <= 2000 and len(found) == 100
    assert "100 rows had a text of more than 2,000 characters: its beginning is read." in found.notes


# What the notes say -------------------------------------------------------------------------------------------------


def test_what_is_doubtful_is_said(file: Path) -> None:
    rows = [*GOOD, GOOD[0], {"text": GOOD[1]["text"], "label": "数码"}, {"text": "x", "label": "稀有"}]
    rows += [
        {"text": f"news {place}", "label": label} for place in range(2) for label in ("Tech", "ｔｅｃｈ ", "te ch")
    ]
    file.write_text(lines(rows))
    found = read_labels(file)
    assert len(found) == len(rows)
    assert found.notes == (
        "1 of 6 labels have one row only ('稀有'), which is trained on and not measured.",
        "1 row repeat a text and its label; each counts.",
        "3 texts stand under several labels ('球队赢得了比赛，球迷庆祝，第 0 行的文字很好', 'news 0', 'news 1'); "
        "all their rows are kept.",
        "Labels that differ by case, width or spaces alone are kept apart: 'Tech' / 'te ch' / 'ｔｅｃｈ'.",
    )
    assert (found + found).notes == found.notes * 2 and found.take([0]).notes == ()


# Splitting ----------------------------------------------------------------------------------------------------------


def test_split_holds_out_of_every_label_and_keeps_equal_texts_together() -> None:
    texts = [f"text {place // 2}" for place in range(200)]
    names = [("a", "b", "c", "c")[place // 2 % 4] for place in range(200)]
    train, dev = split(Rows([*texts, "single"], [*names, "rare"]), 0.2, 0)
    assert len(train) + len(dev) == 201
    assert not set(train.texts) & set(dev.texts)
    assert set(train.labels) == {"a", "b", "c", "rare"}
    assert dev.labels.count("c") == 2 * dev.labels.count("a") == 20
    assert split(Rows(texts, names), 0.2, 0) != split(Rows(texts, names), 0.2, 1)


@given(
    st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abc")), min_size=1, max_size=60), st.integers(0, 9)
)
def test_split_parts_no_text_and_takes_no_label_away(pairs: list[tuple[str, str]], seed: int) -> None:
    rows = Rows([text for text, _ in pairs], [label for _, label in pairs])
    try:
        train, dev = split(rows, 0.4, seed)
    except LabelsError:
        return
    assert set(train.labels) == set(rows.labels)
    assert not set(train.texts) & set(dev.texts)
    assert sorted(zip(train.texts + dev.texts, train.labels + dev.labels, strict=True)) == sorted(pairs)


def test_too_few_rows_to_hold_out() -> None:
    with pytest.raises(LabelsError, match="6 are needed of one at least, and 1 is the most") as refused:
        split(Rows(["a", "b"], ["x", "y"]), 0.1, 0)
    assert "--" not in str(refused.value)  # the console shows it, too
    texts = [f"text {n}" for n in range(7)]
    split(Rows(texts, ["x"] * 6 + ["y"]), 0.1, 0)


# Anything at all ----------------------------------------------------------------------------------------------------

ROW = st.fixed_dictionaries(
    {
        "text": st.one_of(st.text(max_size=20), st.none(), st.integers()),
        "label": st.one_of(st.text(max_size=5), st.none(), st.booleans(), st.floats(), st.integers()),
    }
)
ENCODED = st.tuples(st.lists(ROW, max_size=5), st.sampled_from(["utf-8", "utf-16", "gb18030", "utf-32"])).map(
    lambda pair: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pair[0]).encode(
        pair[1], "surrogatepass" if pair[1] != "gb18030" else "ignore"
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=200), ENCODED),
    packed=st.booleans(),
    cut=st.integers(0, 30),
    kind=st.sampled_from(["jsonl", "csv"]),
)
def test_any_bytes_are_rows_or_a_labels_error(tmp_path: Path, data: bytes, packed: bool, cut: int, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    content = gzip.compress(data) if packed else data
    path.write_bytes(content[: len(content) - cut] if cut > 20 else content)
    refused = []
    for damaged in ("refuse", "leave_out"):
        try:
            rows = read_labels(path, damaged=damaged)
            assert rows.texts and len(rows.texts) == len(rows.labels) and len(set(rows.labels)) > 1
            assert all(rows.texts) and all(rows.labels)
        except LabelsError as error:
            refused.append(str(error))
        try:
            assert read_texts(path)
        except LabelsError as error:
            refused.append(str(error))
    assert all(message.startswith(f"rows.{kind}") for message in refused)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), min_size=1, max_size=4))
def test_utf_8_is_never_taken_for_anything_else(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" + "\n".join(texts).encode())
    assert recognise(path) == "utf-8"


def test_other_tasks_name_a_damaged_gzip_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 3)[:-9])
    with pytest.raises(ValueError, match=r"rows\.jsonl\.gz: the gzip data is damaged or ends too early, behind line"):
        list(read_jsonl(path))


# Is the head worth anything? ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "n", "share", "answered", "said"),
    [
        (0.9, 200, 0.5, 1.0, None),
        (0.5, 200, 0.5, 1.0, "may be chance"),
        (0.3, 200, 0.5, 1.0, "may be chance"),
        (0.54, 200, 0.5, 1.0, "may be chance"),
        (0.54, 5000, 0.5, 1.0, None),
        (0.75, 4, 0.5, 1.0, "right on 3 of 4 development rows"),
        (1.0, 50, 1.0, 1.0, "may be chance"),
        (0.9, 200, 0.5, 0.05, r"abstains on 95\.0%"),
        (0.0, 0, 0.0, 1.0, "no development rows"),
    ],
)
def test_a_head_no_better_than_chance_is_told(
    accuracy: float, n: int, share: float, answered: float, said: str | None
) -> None:
    sentence = useless(accuracy, n, share, answered=answered)
    if said is None:
        assert sentence is None
    else:
        assert sentence is not None
        with pytest.raises(ValueError, match=said):
            raise ValueError(sentence)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_holds_the_share(n: int, share: float) -> None:
    right = round(share * n)
    low, high = interval95(right, n)
    assert 0 <= low <= right / n + 1e-4 and right / n - 1e-4 <= high <= 1
    assert interval95(right * 4, n * 4)[1] - interval95(right * 4, n * 4)[0] < high - low
