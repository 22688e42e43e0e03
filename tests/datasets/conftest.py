from pipelines.conftest import kaggle_folder, world  # noqa: F401
