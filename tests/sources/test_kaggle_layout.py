import pytest

from conftest import made_photograph
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.degradations import encode_jpeg, pixelate
from isr_pipeline.sources.collection import COLUMNS, SourceError
from isr_pipeline.sources.kaggle_layout import (
    CSV_NAME,
    FOLDER,
    find_layout,
    list_kaggle_layout,
    parse_image_data,
    write_kaggle_layout,
)

HEADER = b"low_res,high_res\r\n"
TWO_PHOTOGRAPHS = [
    ("1", 1, "high res/1.jpg"),
    ("1", 2, "low res/1_2.jpg"),
    ("ü", 1, "high res/ü.jpg"),
    ("ü", 2, "low res/ü_2.jpg"),
    ("1", 4, "low res/1_4.jpg"),
]
TEXT = "low_res,high_res\r\n1_2.jpg,1.jpg\r\nü_2.jpg,ü.jpg\r\n1_4.jpg,1.jpg\r\n"


def parsed(data):
    return list(parse_image_data(data).itertuples(index=False, name=None))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_usual_encoding_and_line_end_is_read(encoding, line_end):
    assert parsed(TEXT.replace("\r\n", line_end).encode(encoding)) == TWO_PHOTOGRAPHS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_of_either_order_is_read_with_its_mark(encoding):
    assert parsed(("\ufeff" + TEXT).encode(encoding)) == TWO_PHOTOGRAPHS


@pytest.mark.parametrize(
    "text",
    [
        TEXT.removesuffix("\r\n"),
        TEXT.replace("\r\n", "\r\n\r\n") + " , \r\n\r\n",
        TEXT.replace(",", " , "),
        TEXT.replace("1_2.jpg,1.jpg", '"1_2.jpg","1.jpg"'),
        "high_res,low_res\n1.jpg,1_2.jpg\nü.jpg,ü_2.jpg\n1.jpg,1_4.jpg\n",
        "n,low_res,note,high_res,x\n0,1_2.jpg,,1.jpg,\n1,ü_2.jpg,a,ü.jpg,b\n2,1_4.jpg,,1.jpg\n",
    ],
    ids=["no last end", "blank lines", "spaces", "quotes", "other order", "more columns"],
)
def test_usual_variations_of_the_table_are_read(text):
    assert parsed(text.encode()) == TWO_PHOTOGRAPHS


def test_the_table_has_the_columns_of_a_collection():
    assert tuple(parse_image_data(TEXT.encode()).columns) == COLUMNS


def test_names_below_folders_with_dots_and_underscores_are_read():
    assert parsed(HEADER + b"a.b/c_d.e_12.jpeg,a.b/c_d.e.png") == [
        ("a.b/c_d.e", 1, "high res/a.b/c_d.e.png"),
        ("a.b/c_d.e", 12, "low res/a.b/c_d.e_12.jpeg"),
    ]


GOOD = b"1_2.jpg,1.jpg\r\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD + b",2.jpg", "row 3: an empty file name"),
        (GOOD + b"2_2.jpg, ", "row 3: an empty file name"),
        (GOOD + b"\r\n../2_2.jpg,2.jpg", r"row 4: '\.\./2_2\.jpg' leaves"),
        (GOOD + b"2_2.jpg,/etc/passwd", "row 3: '/etc/passwd' leaves"),
        (GOOD + b"2_2.jpg,C:\\2.jpg", "row 3: 'C:.*leaves"),
        (GOOD + b"2_2.jpg,a/../../2.jpg", "row 3: 'a/../../2.jpg' leaves"),
        (GOOD + b"2.jpg,2.jpg", r"row 3: '2\.jpg' has no scale"),
        (GOOD + b"2_x.jpg,2.jpg", "row 3: .* has no scale"),
        (GOOD + b"2_0.jpg,2.jpg", "row 3: .* has no scale"),
        (GOOD + b"2_1.jpg,2.jpg", "row 3"),
        (GOOD + b"2_100.jpg,2.jpg", "row 3: .* has no scale"),
        (GOOD + b"_2.jpg,2.jpg", "row 3: .* has no scale"),
        (GOOD + b"2_2,2.jpg", "row 3: .* has no scale"),
        (GOOD + b"2_2.jpg,2.jpg\r\n" + GOOD, "row 4: a second partner of '1.jpg' .* row 2"),
        (GOOD + b"1_2.png,1.jpg", "row 3: a second partner of '1.jpg' at scale 2"),
        (GOOD + b"1_4.jpg,1.png", "row 3: '1.png' and '1.jpg' are two originals"),
        (GOOD + b"1_4.jpg,1.JPG", "row 3: '1.JPG' and '1.jpg' are two originals"),
        (GOOD + b"2_2.jpg", "row 3: 1 columns instead of 2"),
        (GOOD + b"2_2.jpg;2.jpg", "row 3: 1 columns instead of 2"),
        (GOOD + b"2_\x002.jpg,2.jpg", "row 3: a NUL byte"),
        (GOOD + b'"' + b"x" * 200_000, "row 3"),
        (GOOD + b"2_2.jpg,.", "row 3"),
        (b"", "no row below the header"),
        (b"\r\n , \r\n", "no row below the header"),
    ],
)
def test_a_bad_row_is_refused_and_named(rows, message):
    with pytest.raises(SourceError, match=f"some.csv.*{message}"):
        parse_image_data(HEADER + rows, "some.csv")


@pytest.mark.parametrize(
    ("header", "column"),
    [
        (b"", "low_res"),
        (b"low,high\n", "low_res"),
        (b"low_res\n", "high_res"),
        (b"high_res\n", "low_res"),
        (b"low_res;high_res\n", "low_res"),
        (b"Low_Res,High_Res\n", "low_res"),
    ],
)
def test_a_missing_column_is_named(header, column):
    with pytest.raises(SourceError, match=f"row 1: no column '{column}'"):
        parse_image_data(header + GOOD)


def test_utf_16_without_its_mark_is_refused_at_its_first_nul():
    with pytest.raises(SourceError, match="row 1: a NUL byte"):
        parse_image_data(TEXT.encode("utf-16-le"))


def test_half_a_utf_16_character_is_refused():
    with pytest.raises(SourceError, match="not utf-16 text"):
        parse_image_data(TEXT.encode("utf-16") + b"x")


def test_the_real_table_names_1254_photographs_with_three_partners_each(unsplash_folder):
    files = list_kaggle_layout(unsplash_folder).files
    partners = files[files["scale"] != 1]
    assert (files["scale"] == 1).sum() == files["photograph"].nunique() == 1254
    assert len(partners) == 3762
    assert partners["scale"].value_counts().to_dict() == {2: 1254, 4: 1254, 6: 1254}
    assert set(files["photograph"]) == {str(number) for number in range(1, 1255)}
    last = files.iloc[-1]
    assert (last["photograph"], last["scale"], last["path"]) == ("1254", 6, "low res/1254_6.jpg")


def test_the_real_folder_is_found_and_its_files_can_be_read(unsplash_folder):
    collection = list_kaggle_layout(unsplash_folder)
    assert collection.root == unsplash_folder / FOLDER
    present = [path for path in collection.files["path"] if (collection.root / path).exists()]
    assert len(present) >= 160
    assert decode_picture(collection.read("low res/1_6.jpg")).pixels.shape == (800, 1200, 3)


@pytest.mark.parametrize("depth", ["", "a", "a/b"])
def test_the_layout_is_found_up_to_two_levels_down(tmp_path, depth):
    (tmp_path / depth).mkdir(parents=True, exist_ok=True)
    (tmp_path / depth / CSV_NAME).touch()
    assert find_layout(tmp_path) == tmp_path / depth


def test_the_layout_is_not_searched_deeper_nor_invented(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / CSV_NAME).touch()
    assert find_layout(tmp_path) is None
    assert find_layout(tmp_path / "nowhere") is None
    with pytest.raises(SourceError, match=r"no image_data\.csv in"):
        list_kaggle_layout(tmp_path)


def pictures():
    yield "b", made_photograph(48, 60, seed=1)
    yield "a", made_photograph(53, 79, seed=2)


def test_a_written_layout_reads_back(tmp_path):
    write_kaggle_layout(tmp_path / "made", pictures(), (2, 6))
    collection = list_kaggle_layout(tmp_path / "made")
    assert collection.root == tmp_path / "made" / FOLDER
    assert list(collection.files.itertuples(index=False, name=None)) == [
        ("b", 1, "high res/b.jpg"),
        ("b", 2, "low res/b_2.jpg"),
        ("a", 1, "high res/a.jpg"),
        ("a", 2, "low res/a_2.jpg"),
        ("b", 6, "low res/b_6.jpg"),
        ("a", 6, "low res/a_6.jpg"),
    ]
    for path in collection.files["path"]:
        expected = (48, 60, 3) if "/b" in path else (53, 79, 3)
        assert decode_picture(collection.read(path)).pixels.shape == expected


def test_a_written_table_has_the_real_ones_form(tmp_path):
    write_kaggle_layout(tmp_path / "made", pictures(), iter([2, 4]))
    assert (tmp_path / "made" / FOLDER / CSV_NAME).read_bytes() == (
        b"low_res,high_res\r\nb_2.jpg,b.jpg\r\na_2.jpg,a.jpg\r\nb_4.jpg,b.jpg\r\na_4.jpg,a.jpg\r\n"
    )


def test_written_partners_come_from_the_stored_original(tmp_path):
    write_kaggle_layout(tmp_path / "made", pictures(), [4])
    collection = list_kaggle_layout(tmp_path / "made")
    stored = decode_picture(collection.read("high res/a.jpg")).pixels
    partner = collection.read("low res/a_4.jpg")
    assert partner == encode_jpeg(pixelate(stored, 4))
    assert partner != encode_jpeg(pixelate(dict(pictures())["a"], 4))


def breaking_off():
    yield "a", made_photograph(48, 60, seed=1)
    raise KeyboardInterrupt


def too_small():
    yield "a", made_photograph(48, 60, seed=1)
    yield "b", made_photograph(5, 60, seed=1)


@pytest.mark.parametrize(
    ("photographs", "error"), [(breaking_off, KeyboardInterrupt), (too_small, ValueError)]
)
def test_an_interrupted_write_leaves_nothing(tmp_path, photographs, error):
    with pytest.raises(error):
        write_kaggle_layout(tmp_path / "made", photographs(), (2, 6))
    assert [path for path in tmp_path.rglob("*") if path != tmp_path / "made"] == []


def test_an_interrupted_write_keeps_what_was_there(tmp_path):
    write_kaggle_layout(tmp_path / "made", pictures(), [2])
    with pytest.raises(KeyboardInterrupt):
        write_kaggle_layout(tmp_path / "made", breaking_off(), [2])
    assert len(list_kaggle_layout(tmp_path / "made").files) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert [path.name for path in (tmp_path / "made").iterdir()] == [FOLDER]


def test_writing_a_layout_leaves_other_files_of_the_folder_alone(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "notes.txt").write_text("mine")
    write_kaggle_layout(tmp_path / "raw", pictures(), [2])
    assert (tmp_path / "raw" / FOLDER / CSV_NAME).exists()
    assert (tmp_path / "raw" / "notes.txt").exists()


def test_a_header_too_long_for_a_table_is_refused_by_its_row():
    with pytest.raises(SourceError, match=r"image_data\.csv row 1: field larger than"):
        parse_image_data(b"x" * 200_000 + b",high_res\n")
