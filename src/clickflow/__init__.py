def __getattr__(name: str) -> str:
    """``__version__``, read when it is asked for: code that travels with a logged model is no installed package."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version(__name__)
