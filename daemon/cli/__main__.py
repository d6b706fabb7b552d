"""python -m quantd.daemon.cli"""

from quantd.daemon.cli import main

main()
