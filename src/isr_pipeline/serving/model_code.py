"""What MLflow runs to make the served model: a program, where a pickle would be otherwise."""

from mlflow.models import set_model

from isr_pipeline.serving import ServedNetwork

set_model(ServedNetwork())
