"""The kinds of jobs, a record each: what a schedule may do. A record imports its worker when a daemon starts."""
