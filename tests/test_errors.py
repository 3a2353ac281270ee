"""The tree of errors is public: what catches what, and the exit code that each one means."""

import inspect

from tunelab import errors
from tunelab.errors import TunelabError, nearest


def test_the_tree_of_errors_is_as_documented():
    tree = {
        name: (kind.__base__.__name__, kind.exit_code)
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, TunelabError) and kind is not TunelabError
    }
    assert tree == {
        "UserError": ("TunelabError", 2),
        "StudyError": ("UserError", 2),
        "DataError": ("UserError", 2),
        "FormatError": ("UserError", 2),
        "ModelError": ("UserError", 2),
        "HubError": ("TunelabError", 1),
        "TrackerError": ("TunelabError", 1),
        "StoreError": ("TunelabError", 1),
        "StepError": ("TunelabError", 1),
        "LeaseLost": ("StepError", 1),
    }
    assert TunelabError.exit_code == 1


def test_a_misspelt_name_gets_the_nearest_valid_one():
    assert nearest("gsm9k", ["mmlu", "gsm8k"]) == "; did you mean 'gsm8k'?"


def test_a_name_unlike_any_other_gets_the_whole_list_in_order():
    assert nearest("zzz", ["mmlu", "gsm8k"]) == "; known: gsm8k, mmlu"
    assert nearest("zzz", []) == ""
