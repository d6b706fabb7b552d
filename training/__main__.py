"""`python -m quantd.training`: the command line that trains the scorer policy. The artifact of a scorer records the
command that trained it."""

from quantd.training.runs.scorer_run import main

if __name__ == "__main__":
    raise SystemExit(main())
