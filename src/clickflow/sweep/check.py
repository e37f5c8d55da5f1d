def check_space(space, composer):
    pass


def check_grid(space):
    pass
