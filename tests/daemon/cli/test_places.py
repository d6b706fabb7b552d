"""Places of a configuration, as they are printed."""

from pathlib import Path

from quantd.daemon.cli.places import place, plain


def test_a_place_has_no_way_back_in_it_unless_a_link_needs_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("examples").mkdir()
    Path("examples/own.toml").write_text('[quantd]\nstate = "../state/own"\n')
    assert str(place(Path("examples/own.toml"), None).folder) == "state/own"
    Path("elsewhere/deep").mkdir(parents=True)
    Path("link").symlink_to("elsewhere/deep")
    assert plain(Path("link/../state")) == Path("link/../state"), "which is elsewhere/state"
