import nbformat
import pytest
from nbclient import NotebookClient

from conftest import PROJECT


def test_the_notebook_runs_and_shows_its_pictures(run_project, monkeypatch):
    monkeypatch.setenv("KEDRO_ENV", "test")
    notebook = nbformat.read(PROJECT / "notebooks" / "look_around.ipynb", as_version=4)
    folder = run_project.folder / "notebooks"
    folder.mkdir(exist_ok=True)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    pictures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 4
    tables = [cell for cell in notebook.cells if "pairs[[" in cell.source]
    assert "astronaut" in tables[0].outputs[-1]["data"]["text/html"]


@pytest.mark.parametrize(
    "path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_notebooks_are_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
