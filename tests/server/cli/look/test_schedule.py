"""`quantd schedule` from outside."""

import pytest

from tests.support.command_line import CONFIG, answer, quantd, write


def test_the_next_instants_are_in_exchange_time_and_utc_over_a_clock_change(tmp_path):
    write(tmp_path)
    schedule = answer(quantd(tmp_path, "schedule", "list", "--next", "2", "--after", "2024-03-08T12:00:00Z", "--json"))
    assert [(r["time"], r["local"]) for r in schedule["instants"]] == [
        ("2024-03-08T20:45:00Z", "2024-03-08T15:45:00-05:00"),
        ("2024-03-11T19:45:00Z", "2024-03-11T15:45:00-04:00"),
    ]


def test_a_tick_of_a_closed_date_is_marked_and_showing_it_makes_no_folder(tmp_path):
    write(tmp_path, CONFIG.replace('at = "close-15m"', 'cron = "0 16 * * fri"'))
    shown = quantd(tmp_path, "schedule", "list", "--next", "2", "--after", "2019-04-15")
    assert shown.returncode == 0
    assert "Mon 2019-04-22 16:00:00 -0400" in shown.stdout
    assert shown.stdout.count("(moved from 2019-04-19, closed)") == 1
    schedule = answer(quantd(tmp_path, "schedule", "list", "--next", "2", "--after", "2019-04-15", "--json"))
    assert [r["moved_from"] for r in schedule["instants"]] == ["2019-04-19", None]
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.requirement("R-174")
def test_each_agent_has_a_policy_and_a_schedule_of_its_own_that_can_be_switched_off(tmp_path):
    weekly = CONFIG.replace('at = "close-15m"', 'cron = "0 16 * * fri"')
    month = '[[schedules]]\nname = "month"\ndo = "rebalance"\ncron = "0 16 1 * *"\nagents = ["even"]\n'
    for more, names in ((month, ["close", "month"]), (month + "enabled = false\n", ["close"])):
        write(tmp_path, weekly + more)
        schedule = answer(quantd(tmp_path, "schedule", "list", "--next", "20", "--after", "2019-01-02", "--json"))
        assert sorted({row["schedule"] for row in schedule["instants"]}) == names
    write(tmp_path, weekly + month)
    days = {}
    for row in answer(quantd(tmp_path, "schedule", "list", "--next", "20", "--after", "2019-01-02", "--json"))[
        "instants"
    ]:
        days.setdefault(row["schedule"], []).append(row["local"][:10])
    assert days["close"][:2] == ["2019-01-04", "2019-01-11"]
    assert days["month"][:2] == ["2019-01-02", "2019-02-01"], "the first of January is closed"
    assert quantd(tmp_path, "run", "--quiet", "--set", "feed.end=2019-03-05").returncode == 0
    asked = {"even": set(), "trend": set()}
    for decision in answer(quantd(tmp_path, "why", "--last", "100", "--json"))["decisions"]:
        for agent in decision["agents"] if not decision["follow_up"] else ():
            asked[agent["agent"]].add(decision["time"][:10])
    assert asked["even"] <= set(days["month"])
    assert asked["trend"] <= set(days["close"])
    assert min(len(dates) for dates in asked.values()) >= 2


@pytest.mark.long
@pytest.mark.requirement("R-173")
def test_the_list_has_the_next_instant_and_the_last_result_of_each_schedule_after_the_run(tmp_path):
    write(tmp_path, CONFIG + '[[schedules]]\nname = "day"\ndo = "daily_report"\nat = "close"\n')
    never = answer(quantd(tmp_path, "schedule", "list", "--json"))
    assert [(r["schedule"], r["last"]) for r in never["schedules"]] == [("close", None), ("day", None)]
    assert quantd(tmp_path, "run", "--quiet").returncode == 0
    close, day = answer(quantd(tmp_path, "schedule", "list", "--json"))["schedules"]
    assert (day["last"]["state"], day["last"]["due"]) == ("succeeded", "2019-03-29T20:00:00Z")
    assert day["last"]["result"].endswith("daily-2019-03-29.html")
    assert day["next"] == "2019-04-01T20:00:00Z"
    assert close["where"] == "loop"
    rows = quantd(tmp_path, "schedule", "list").stdout.splitlines()
    line = next(row for row in rows if row.startswith("day"))
    for text in (day["next"], "succeeded", day["last"]["started"][:19].replace("T", " ")):
        assert text in line
    shown = quantd(tmp_path, "schedule", "list", "--jobs", "20")
    assert "daily_report" in shown.stdout
    assert "succeeded" in shown.stdout
    refused = quantd(tmp_path, "schedule", "run", "day", "--reason", "x")
    assert refused.returncode == 75
    assert "no daemon runs" in refused.stderr


@pytest.mark.long
@pytest.mark.requirement("R-173")
def test_cron_lines_intervals_and_sessions_of_the_configuration_have_their_next_run(tmp_path):
    """The data end on Friday, 2019-03-29; New York is four hours behind UTC then, and its session is 09:30 to 16:00."""
    expected = {
        "cron": ('do = "daily_report"\ncron = "30 6 * * sat"\n', "2019-03-30T10:30:00Z"),
        "interval": ('do = "health_check"\nevery = "90m"\n', "2019-03-29T21:00:00Z"),
        "interval of orders": ('do = "rebalance"\nevery = "90m"\n', "2019-04-01T13:30:00Z"),
        "open": ('do = "rebalance"\nat = "open+10m"\n', "2019-04-01T13:40:00Z"),
        "close": ('do = "rebalance"\nat = "close-15m"\n', "2019-04-01T19:45:00Z"),
    }
    tables = "".join(f'[[schedules]]\nname = "{name}"\n{lines}' for name, (lines, _) in expected.items())
    write(tmp_path, CONFIG.split("[[schedules]]")[0] + tables)
    assert quantd(tmp_path, "run", "--quiet").returncode == 0
    rows = answer(quantd(tmp_path, "schedule", "list", "--json"))["schedules"]
    assert {row["schedule"]: row["next"] for row in rows} == {name: time for name, (_, time) in expected.items()}


@pytest.mark.long
def test_the_last_run_of_each_schedule_is_its_newest_instant_after_a_fast_replay(tmp_path):
    """A schedule that is due at the last instants does not hide an earlier one of the same job."""
    weekly = '[[schedules]]\nname = "fridays"\ndo = "rebalance"\ncron = "0 15 * * fri"\nagents = ["even"]\n'
    monthly = '[[schedules]]\nname = "mid"\ndo = "snapshot"\ncron = "0 12 15-21 * wed"\n'
    write(tmp_path, CONFIG.replace("end = 2019-03-29", "end = 2019-03-28") + weekly + monthly)
    assert quantd(tmp_path, "run", "--quiet").returncode == 0
    last_runs = {r["schedule"]: r["last"] for r in answer(quantd(tmp_path, "schedule", "list", "--json"))["schedules"]}
    assert last_runs["close"]["due"] == "2019-03-28T19:45:00Z"
    assert last_runs["fridays"]["due"] == "2019-03-22T19:00:00Z"
    assert last_runs["mid"]["due"] == "2019-03-20T16:00:00Z"
