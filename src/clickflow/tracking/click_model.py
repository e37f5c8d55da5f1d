"""The name under which models logged by version 0.1 look for the class that serves them."""

from clickflow.serving.click_model import ClickModel as ClickModel
