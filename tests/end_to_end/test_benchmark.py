import pandas as pd


def test_the_benchmark_scores_the_champion_and_the_results_page_is_written(run_project):
    benchmark = run_project.kedro(
        "run", "--env=test", "--pipelines=benchmark", "--params=benchmark.keep_as=sample"
    )
    assert benchmark.returncode == 0, benchmark.stderr
    folder = run_project.path("08_reporting", "benchmark")
    assert (folder / "tables.md").is_file()
    assert len(list((folder / "panels").glob("unsplash_sample_x2.png"))) == 1
    assert len(list((folder / "cost").glob("unsplash.png"))) == 1
    kept = pd.read_csv(run_project.folder / "docs" / "results" / "sample.csv")
    champion = kept[kept["model"] == "champion (autoencoder)"].iloc[0]
    assert champion["pictures"] == 2  # the sample's test photographs alone
    assert champion["keras_seconds"] > 0
    assert champion["command"].startswith("kedro run --env=test --pipelines=benchmark")

    results = run_project.kedro("run", "--env=test", "--pipelines=results")
    assert results.returncode == 0, results.stderr
    page = (run_project.folder / "docs" / "results.md").read_text()
    assert "**champion (autoencoder)**" in page
    assert (run_project.folder / "docs" / "results" / "cost_unsplash.png").is_file()


def test_results_without_measurements_say_what_to_run(empty_project):
    results = empty_project.kedro("run", "--pipelines=results")
    assert results.returncode == 1
    remedy = "run kedro run --pipelines=benchmark --params=benchmark.keep_as=<name> first"
    assert remedy in results.stderr
    assert "Traceback" not in results.stderr
