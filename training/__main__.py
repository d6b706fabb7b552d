"""`python -m quantd.training`: the command line that trains the scorer policy, as its artifact records it."""

from quantd.training.runs.scorer_run import main

if __name__ == "__main__":
    raise SystemExit(main())
