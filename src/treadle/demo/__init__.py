"""The main job: a pipeline of processes over real files, with one of them killed on the way.

::

                     tasks: treadle.Queue            results: treadle.Queue
    a thread walks ───────────────────────▶ worker ─────────────────────────▶ the collector
    the tree              (leases)          processes   (put before the ack)  writes the report

A worker holds each file under a lease while it reads, hashes and compresses it. One worker (or
``--kills`` of them) dies by SIGKILL in the middle of a file; the lease brings the file back,
another worker does it, and the account at the end is balanced against a serial run.

One subject per module, in the order of the pipeline: ``messages`` (what crosses the queues),
``walk`` and ``feeder`` (the tree), ``content`` (one file's work), ``victims`` (who is to die),
``worker``, ``supervisor`` (starts and replaces them), ``pipeline`` (all of these on treadle),
``collector`` and ``report`` (the results), ``check`` (the serial run and the verdict), ``rival``
(the same job on multiprocessing), ``display`` and ``bar`` (live progress), ``interrupt`` (Ctrl-C),
``summary`` (the closing lines), ``job`` (the steps, from options to exit code).
"""
