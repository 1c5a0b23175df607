"""The ``adtailor`` command: AdTailor from a terminal, on this machine and on AWS (``adtailor --help``).

``session`` is what every command shares: where the API is, who asks, how answers and problems are printed. Exit status
0: done; 1: refused, or a file cannot be used; 2: wrong arguments; 3: nothing answers, or the server is broken; 4: done,
but lines were rejected and ``--strict`` was given. `promote` has the gate's.
"""
