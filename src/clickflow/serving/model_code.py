"""The file that MLflow runs when it loads a model ("models from code"), so that the model is code and data and no pickled object.

It travels with each model and says nothing but where the code is: loaded beside an installed clickflow, which then is the code that runs, a
model logged by another version has to fit only in what :class:`~clickflow.serving.bundle.ServingBundle` reads.
"""

from mlflow.models import set_model

from clickflow.serving.click_model import ClickModel

set_model(ClickModel())
