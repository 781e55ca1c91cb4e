"""Speed and memory of nls against what a user would run instead: ``python -m benchmarks`` (see ``__main__``)."""
