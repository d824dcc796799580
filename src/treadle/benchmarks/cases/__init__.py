"""The work that is measured, by subject; `all_cases` lists it in the order of the table."""

from treadle.benchmarks.case import Case
from treadle.benchmarks.cases import (
    arrays,
    contention,
    dicts,
    footprint,
    idle,
    jobs,
    latency,
    lists,
    operations,
    ordered,
    pipes,
    pools,
    references,
    shared_data,
    startup,
    tasks,
    throughput,
    timers,
    waiters,
)


def all_cases() -> list[Case]:
    """Every case of the bench, in the order of the table."""
    modules = (
        operations,
        references,
        contention,
        throughput,
        ordered,
        dicts,
        lists,
        arrays,
        shared_data,
        latency,
        tasks,
        waiters,
        pipes,
        timers,
        pools,
        jobs,
        footprint,
        idle,
        startup,
    )
    return [case for module in modules for case in module.cases()]
