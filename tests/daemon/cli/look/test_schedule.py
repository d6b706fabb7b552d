"""`quantd schedule` from outside."""

from tests.support.command_line import CONFIG, answer, quantd, write


def test_the_next_instants_are_in_exchange_time_and_utc_over_a_clock_change(tmp_path):
    write(tmp_path)
    found = answer(quantd(tmp_path, "schedule", "next", "2", "--after", "2024-03-08T12:00:00Z", "--json"))
    assert [(r["time"], r["local"]) for r in found["instants"]] == [
        ("2024-03-08T20:45:00Z", "2024-03-08T15:45:00-05:00"),
        ("2024-03-11T19:45:00Z", "2024-03-11T15:45:00-04:00"),
    ]


def test_a_tick_of_a_closed_date_is_marked_and_showing_it_makes_no_folder(tmp_path):
    write(tmp_path, CONFIG.replace('at = "close-15m"', 'cron = "0 16 * * fri"'))
    shown = quantd(tmp_path, "schedule", "next", "2", "--after", "2019-04-15")
    assert shown.returncode == 0
    assert "Mon 2019-04-22 16:00:00 -0400" in shown.stdout
    assert shown.stdout.count("(moved from 2019-04-19, closed)") == 1
    found = answer(quantd(tmp_path, "schedule", "next", "2", "--after", "2019-04-15", "--json"))
    assert [r["moved_from"] for r in found["instants"]] == ["2019-04-19", None]
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
