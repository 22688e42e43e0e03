from isr_pipeline.datasets.files import FilesDataset


def test_files_are_replaced_as_a_whole(tmp_path):
    dataset = FilesDataset(str(tmp_path / "exported"))
    assert not dataset.exists()
    dataset.save({"a.bin": b"1", "b.bin": b"2"})
    dataset.save({"a.bin": b"3", "c.bin": b""})
    assert dataset.exists()
    assert dataset.load() == {"a.bin": b"3", "c.bin": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]
