"""Files that are not there are named by the commands of training, with the reason in words."""

from pathlib import Path

from tests.support.command_line import quantd


def test_a_plan_that_is_not_there_is_named_without_the_number_of_the_system(tmp_path: Path) -> None:
    process = quantd(tmp_path, "train", "plan.toml", "--retrain", "--out", "versions")
    assert process.returncode == 1
    assert process.stderr == "quantd train --retrain: plan.toml: no such file or directory\n"
    assert not (tmp_path / "versions").exists()
    for words, text in (
        (("--retrain", "--out", "versions"), "needs the artifact or the plan to train again"),
        (("--until", "2020-01-01"), "belong to --retrain"),
        (("mine", "--retrain", "--out", "versions", "--steps", "5"), "remove other options"),
    ):
        refused = quantd(tmp_path, "train", *words)
        assert refused.returncode == 2
        assert text in refused.stderr
