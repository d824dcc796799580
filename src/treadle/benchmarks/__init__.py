"""``treadle bench``: treadle and its rivals on the same work in the same run.

How a figure comes about:

* a *case* is one kind of work; its *contenders* are treadle and the rivals, each a function that
  measures itself once;
* the contenders of a case are *interleaved* (A B C A B C ...), so that what else the machine does
  hits all alike; the median over the rounds is the figure;
* each measurement runs in a child process of its own with a watchdog: one that hangs ends as a row
  that says ``hung``, one that crashes as a row that says ``failed``, and the bench goes on;
* ratios are of medians, treadle by rival: of times and sizes where less is better, of throughputs
  where more is better.

The subjects: ``case`` (what a case is), ``units``, ``clock`` (timing loops), ``workers`` (processes
and threads that start together), ``watchdog`` and ``isolation`` (the child a measurement runs in),
``runner`` (the rounds), ``verdict`` (figures, ratios, targets), ``environment`` and ``report``
(what is printed), ``cases/`` (the work itself).
"""
