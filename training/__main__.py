"""`python -m quantd.training`: the scorer's own command line, as its artifact records it."""

from quantd.training.runs.scorer_run import main

if __name__ == "__main__":
    raise SystemExit(main())
