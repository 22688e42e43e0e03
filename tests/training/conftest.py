from pipelines.conftest import kaggle_folder, train_parameters, world  # noqa: F401
