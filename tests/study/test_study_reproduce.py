"""Where a reproduction takes the weights of a study's entries from."""

import pytest
import yaml
from study_files import changed

from tunelab.errors import StudyError
from tunelab.study.read import read_study
from tunelab.study.reproduce import reproduction

ENTRY = {"format": "chat", "loss": "all"}
TRAIN = {"kept": ENTRY, "shared": {**ENTRY, "published": "owner/shared"}, "lost": ENTRY}


@pytest.fixture
def study(tmp_path):
    def write(**fields):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(changed(train=TRAIN, **fields), sort_keys=False))
        return str(path)

    return write


def weights(name, found):
    [(_, study)] = read_study(name, found.overrides)
    return study.study, {entry: train.from_checkpoint for entry, train in study.train.items()}


def test_published_weights_are_taken_and_entries_without_weights_are_named(study):
    name = study()
    found = reproduction(name, [], None)
    assert found.left_out == ["kept", "lost"]
    assert weights(name, found) == ("templates-reproduced", {"shared": "owner/shared"})


def test_a_folder_of_adapters_comes_before_what_is_published_and_an_override_before_both(study, tmp_path):
    name, models = study(), tmp_path / "models"
    (models / "shared").mkdir(parents=True)
    (models / "kept").mkdir()
    found = reproduction(name, [], models)
    assert weights(name, found)[1] == {"kept": str(models / "kept"), "shared": str(models / "shared")}
    assert found.left_out == ["lost"]
    own = ["train.kept.from_checkpoint=me/mine", "train.lost.from_checkpoint=me/other"]
    found = reproduction(name, own, models)
    assert weights(name, found)[1] == {"kept": "me/mine", "shared": str(models / "shared"), "lost": "me/other"}
    assert found.left_out == []


def test_a_path_in_the_study_keeps_its_meaning(study, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    name = study(from_checkpoint=None)
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "mine").mkdir()
    found = reproduction(name, ["train.kept.from_checkpoint=./mine"], None)
    assert weights(name, found)[1]["kept"] == "./elsewhere/mine"


def test_selections_and_other_overrides_stay(study):
    name = study()
    found = reproduction(name, ["train=shared", "evaluate=chat"], None)
    [(_, chosen)] = read_study(name, found.overrides)
    assert (list(chosen.train), list(chosen.evaluate), found.left_out) == (["shared"], ["chat"], [])


def test_without_any_weights_there_is_nothing_to_reproduce(study, tmp_path):
    with pytest.raises(StudyError, match=r"no weights are known of lost, kept|no weights are known of kept, lost"):
        reproduction(study(), ["train=kept,lost"], None)
    with pytest.raises(StudyError, match=r"--adapters: got .*nowhere, expected a folder"):
        reproduction(study(), [], tmp_path / "nowhere")
