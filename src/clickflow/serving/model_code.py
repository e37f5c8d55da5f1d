"""The file that MLflow runs when it loads a model ("models from code"), so that the model is code and data and no pickled object.

It travels with each model and says only where the code is. In a process that has imported clickflow already, that clickflow runs; so a
model logged by another version has to fit only what :class:`~clickflow.serving.bundle.ServingBundle` reads.
"""

from mlflow.models import set_model

from clickflow.serving.click_model import ClickModel

set_model(ClickModel())
