"""The jobs that a schedule may run, one record for each. A record imports the code that does the work when a daemon
starts."""
