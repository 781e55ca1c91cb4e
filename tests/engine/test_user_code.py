"""A user's own file is carried out as it stands, and nothing is left beside it."""

import os
import sys

from nls.engine.user_code import load_user_code


def test_a_change_of_the_same_size_in_the_same_second_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "own.py"
    for value in (1, 2):
        file.write_text(f"VALUE = {value}\n")
        os.utime(file, (1e9, 1e9))
        assert load_user_code(f"{file}:VALUE") == value
    assert os.listdir(tmp_path) == ["own.py"]


def test_its_classes_know_their_file(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("class Own:\n    pass\n")
    own = load_user_code(f"{file}:Own")
    assert sys.modules[own.__module__].__file__ == str(file)
