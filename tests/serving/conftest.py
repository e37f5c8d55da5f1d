collect_ignore = ["models_of_0_1/make.py"]  # it imports version 0.1
