# cython: language_level=3, binding=False, freethreading_compatible=True, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic, auto_pickle=False
# distutils: language = c++
"""The native core: thin, typed skins over the state machines of native/include/treadle.

One module, in parts: the parts share the process's one view of its arenas and threads.
"""

include "native.pxi"
include "runtime.pxi"
include "transit.pxi"
include "tasks.pxi"
include "names.pxi"
include "locks.pxi"
include "rwlocks.pxi"
include "semaphores.pxi"
include "events.pxi"
include "latches.pxi"
include "conditions.pxi"
include "barriers.pxi"
include "views.pxi"
include "codec.pxi"
include "keys.pxi"
include "stores.pxi"
include "items.pxi"
include "by_value.pxi"
include "ring.pxi"
include "ordered.pxi"
include "local.pxi"
include "local_ring.pxi"
include "local_guarded.pxi"
include "local_hooks.pxi"
include "queues.pxi"
include "leases.pxi"
include "dropins.pxi"
include "channels.pxi"
include "pipe_names.pxi"
include "stops.pxi"
include "rosters.pxi"
include "batches.pxi"
include "serving.pxi"
include "memory.pxi"
include "values.pxi"
include "list_native.pxi"
include "container_locks.pxi"
include "map_values.pxi"
include "list_items.pxi"
include "lists.pxi"
include "list_iterators.pxi"
include "map_keys.pxi"
include "dicts.pxi"
include "dict_copies.pxi"
include "dict_views.pxi"

_install()
_show_rings_to_collector()
_name_dropins()
