"""The trading daemon: the pure engine, the loop that carries out its effects, and the services around that loop."""
