# native.pxi: the C++ side, as Cython must know it.

cimport cython
from libc.errno cimport EMFILE, EPIPE
from libc.math cimport ceil, floor
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcpy, memset
from cpython.object cimport Py_EQ, Py_LT, PyObject, PyObject_RichCompareBool
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "sync_ops.hpp" namespace "treadle::core" nogil:
    ctypedef uint64_t Token "treadle::word::Token"

    cppclass Wait "treadle::word::Wait":
        bint section

    cdef enum:
        DONE "static_cast<int>(treadle::word::Result::done)"
        OWNER_DIED "static_cast<int>(treadle::word::Result::owner_died)"
        SHUT "static_cast<int>(treadle::word::Result::shut)"
        BLOCKED "static_cast<int>(treadle::word::Result::blocked)"
        EMPTY "static_cast<int>(treadle::word::Result::empty)"
        FULL "static_cast<int>(treadle::word::Result::full)"
        NO_MEMORY "static_cast<int>(treadle::word::Result::no_memory)"
        TIMEOUT "treadle::core::kTimeout"
        INTERRUPTED "treadle::core::kInterrupted"

        KIND_LOCK "static_cast<int>(treadle::arena::Kind::lock)"
        KIND_RLOCK "static_cast<int>(treadle::arena::Kind::rlock)"
        KIND_SEMAPHORE "static_cast<int>(treadle::arena::Kind::semaphore)"
        KIND_PERMITS "static_cast<int>(treadle::arena::Kind::permits)"
        KIND_EVENT "static_cast<int>(treadle::arena::Kind::event)"
        KIND_CONDITION "static_cast<int>(treadle::arena::Kind::condition)"
        KIND_BARRIER "static_cast<int>(treadle::arena::Kind::barrier)"
        KIND_RWLOCK "static_cast<int>(treadle::arena::Kind::rwlock)"
        KIND_ROSTER "static_cast<int>(treadle::arena::Kind::roster)"
        KIND_LATCH "static_cast<int>(treadle::arena::Kind::latch)"
        KIND_QUEUE "static_cast<int>(treadle::arena::Kind::queue)"
        KIND_PRIORITY_QUEUE "static_cast<int>(treadle::arena::Kind::priority_queue)"
        KIND_LIFO_QUEUE "static_cast<int>(treadle::arena::Kind::lifo_queue)"

    int64_t FOREVER "treadle::core::kForever"
    uint64_t CAPACITY "treadle::arena::kCapacity"

    cppclass Kind "treadle::arena::Kind":
        pass

    cppclass Mapping "treadle::arena::Mapping":
        Token token()
        Token register_thread(const char* name)
        Token register_task(const char* name)
        void end_task(Token)
        bint member()
        bint named()
        uint32_t sweep()
        uint32_t swept_when_joined
        Mapping* next()
        @staticmethod
        Mapping* first()
        @staticmethod
        Mapping* home()
        @staticmethod
        Mapping* make_home(uint64_t limit)
        @staticmethod
        void install()

    cppclass SharedBlock "treadle::arena::SharedBlock":
        pass

    struct Handle:
        Mapping* mapping
        SharedBlock* block
        uint64_t serial
        uint32_t slot

    struct Ticket:
        uint64_t arena[2]
        uint64_t offset
        uint64_t serial
        int32_t sender_pid
        int32_t sender_fd
        int32_t creator_pid
        int32_t creator_fd
        uint64_t transit
        uint64_t number
        uint32_t kind
        uint32_t check

    enum AttachFailure "treadle::core::AttachFailure":
        ATTACHED "treadle::core::AttachFailure::none"
        OTHER_VERSION "treadle::core::AttachFailure::other_version"
        OTHER_NAMESPACE "treadle::core::AttachFailure::other_namespace"
        ATTACH_FULL "treadle::core::AttachFailure::full"

    struct Identity:
        int32_t pid
        int32_t tid
        char name[40]
        bint task

    char* body_of(SharedBlock*)
    void drop_slot(Mapping*, uint32_t)
    void drop_object(Handle&)
    cppclass Retired:
        pass
    void retire(Handle&, Retired*&)
    void drop_retired(Retired*)
    uint32_t ticket_check(const Ticket&)
    void write_ticket(const Handle&, Ticket&)
    cdef enum:
        TRANSIT_PLACES "treadle::core::kTransitPlaces"
    cppclass SharedTransit "treadle::core::SharedTransit":
        pass
    bint make_transit(Mapping*, Token, Handle&)
    void address_ticket(Ticket&, const Handle&, uint64_t)
    void note_sent(SharedTransit*, uint64_t)
    bint has_arrived(SharedTransit*, uint64_t)
    void await_no_longer(SharedTransit*, uint64_t)
    Mapping* reach_arena(const Ticket&, AttachFailure&)
    Mapping* find_arena(const Ticket&)
    AttachFailure attach_object(Mapping*, Token, const Ticket&, Kind, Handle&)
    void identify(Mapping*, Token, uint64_t, Identity&)
    bint is_of_living_process(const Handle&, Token)
    bint is_of_living_thread(const Handle&, Token)
    uint32_t count_waiting(const Handle&)
    void copy_label(char*, size_t, const char*)

    struct ArenaFigures:
        uint64_t limit
        uint64_t backed
        uint64_t used
        uint64_t blocks
        uint64_t rebuilds
    void arena_figures(Mapping*, ArenaFigures&)
    void native_set_arena_limit "treadle::core::set_arena_limit"(Mapping*, uint64_t)

    cppclass LockBody "treadle::core::LockBody<treadle::core::SharedWorld>":
        uint64_t holder
        int64_t since
        uint32_t recursion
        char label[36]
    bint make_lock(Mapping*, Token, bint, const char*, Handle&)
    bint lock_try(LockBody*, Token)
    bint rlock_try(LockBody*, Token)
    int lock_acquire(LockBody*, const Handle&, Token, bint, int64_t, bint, bint, Token*)
    int lock_attempt(LockBody*, const Handle&, Token, bint, bint, bint, bint, Token*, Wait*)
    int lock_release(LockBody*, const Handle&)
    int rlock_release(LockBody*, const Handle&, Token)
    int lock_restore(LockBody*, Token)
    int lock_abandon(LockBody* body, const Handle& h, Token token)
    bint lock_is_held(LockBody*, const Handle&)
    bint lock_is_mine(LockBody*, Token)
    bint lock_is_inconsistent(LockBody*)
    Token lock_owner(LockBody*)
    void lock_reinitialise(LockBody*)

    cppclass WordSemaphore "treadle::word::Semaphore<treadle::core::SharedWorld>":
        bint try_acquire()
        uint32_t value()
    cppclass SemaphoreBody "treadle::core::SemaphoreBody<treadle::core::SharedWorld>":
        WordSemaphore semaphore
        uint32_t bound
        uint32_t initial
        char label[52]
    uint32_t SEMAPHORE_MAX "treadle::word::Semaphore<treadle::core::SharedWorld>::kMax"
    bint make_semaphore(Mapping*, Token, uint32_t, uint32_t, const char*, Handle&)
    void semaphore_initialise(SemaphoreBody&, uint32_t, uint32_t, const char*)
    int semaphore_acquire(SemaphoreBody*, const Handle&, Token, int64_t)
    int semaphore_attempt(SemaphoreBody*, const Handle&, Wait*)
    int semaphore_release(SemaphoreBody*, const Handle&, uint32_t)

    cppclass WordPermits "treadle::word::Permits<treadle::core::SharedWorld>":
        uint32_t value()
    cppclass PermitsBody "treadle::core::PermitsBody<treadle::core::SharedWorld>":
        WordPermits permits
        uint32_t bound
        uint32_t initial
        char label[56]
    bint make_permits(Mapping*, Token, uint32_t, uint32_t, const char*, Handle&)
    int permits_acquire(PermitsBody*, const Handle&, Token, int64_t, Token*)
    int permits_attempt(PermitsBody*, const Handle&, Token, bint, Token*, Wait*)
    int permits_release(PermitsBody*, const Handle&, Token, uint32_t)

    cppclass WordEvent "treadle::word::Event<treadle::core::SharedWorld>":
        bint is_set()
        void clear()
    cppclass EventBody "treadle::core::EventBody<treadle::core::SharedWorld>":
        WordEvent event
        char label[52]
    bint make_event(Mapping*, Token, const char*, Handle&)
    void event_set(EventBody*, const Handle&)
    uint32_t event_epoch(EventBody*)
    int event_attempt(EventBody*, const Handle&, uint32_t, Wait*)
    int event_wait(EventBody*, const Handle&, Token, int64_t)

    cppclass WordLatch "treadle::word::Latch<treadle::core::SharedWorld>":
        uint32_t count()
    cppclass LatchBody "treadle::core::LatchBody<treadle::core::SharedWorld>":
        WordLatch latch
        uint32_t initial
        char label[52]
    uint32_t LATCH_MAX "treadle::word::Latch<treadle::core::SharedWorld>::kMax"
    bint make_latch(Mapping*, Token, uint32_t, const char*, Handle&)
    void latch_initialise(LatchBody&, uint32_t, const char*)
    int latch_wait(LatchBody*, const Handle&, Token, int64_t)
    int latch_attempt(LatchBody*, const Handle&, Wait*)
    void latch_count_down(LatchBody*, const Handle&, uint32_t)

    cppclass Seat "treadle::word::Seat<treadle::core::SharedWorld>":
        void begin(uint64_t, uint64_t)
        void step(uint32_t, uint64_t)
        bint finish()
        bint stop(uint64_t)
        void vacate()
        uint64_t task()
        uint64_t since()
        uint32_t current_step "step"()
    cppclass Marks "treadle::word::Marks<treadle::core::SharedWorld>":
        void set(uint64_t)
        void clear(uint64_t)
        bint has(uint64_t)
    uint64_t ROSTER_MARKS "treadle::word::Marks<treadle::core::SharedWorld>::kMarks"
    cppclass RosterBody "treadle::core::RosterBody<treadle::core::SharedWorld>":
        Marks marks
        uint32_t seats
    int64_t monotonic_ns "treadle::platform::now"()
    int64_t monotonic_coarse_ns "treadle::platform::now_coarse"()
    bint make_roster(Mapping*, Token, uint32_t, Handle&)
    Seat& seat_at(RosterBody*, uint32_t)

    cppclass WordCondition "treadle::word::Condition<treadle::core::SharedWorld>":
        uint32_t waiting()
    cppclass ConditionBody "treadle::core::ConditionBody<treadle::core::SharedWorld>":
        WordCondition condition
        char label[56]
    bint make_condition(Mapping*, Token, const char*, Handle&)
    void condition_initialise(ConditionBody&, const char*)
    void condition_free_private(ConditionBody*)
    int condition_enlist(ConditionBody*, const Handle&, Token, uint32_t*)
    int condition_wait(ConditionBody*, const Handle&, Token, uint32_t, int64_t)
    int condition_attempt(ConditionBody*, const Handle&, uint32_t, Wait*)
    int condition_cancel(ConditionBody*, const Handle&, Token, uint32_t)
    uint32_t condition_notify(ConditionBody*, const Handle&, Token, uint32_t)

    cppclass WordBarrier "treadle::word::Barrier<treadle::core::SharedWorld>":
        uint32_t parties()
        uint32_t waiting()
        bint is_broken()
        Token culprit()
    cppclass BarrierBody "treadle::core::BarrierBody<treadle::core::SharedWorld>":
        WordBarrier barrier
        char label[56]
    bint make_barrier(Mapping*, Token, uint32_t, const char*, Handle&)
    size_t barrier_bytes(uint32_t)
    void barrier_initialise(BarrierBody&, uint32_t, const char*)
    int barrier_arrive(BarrierBody*, const Handle&, Token, int64_t, uint32_t*, uint32_t*)
    int barrier_wait(BarrierBody*, const Handle&, Token, uint32_t, int64_t)
    int barrier_arrive_attempt(BarrierBody*, const Handle&, Token, bint, uint32_t*, uint32_t*, Wait*)
    int barrier_wait_attempt(BarrierBody*, const Handle&, Token, bint, uint32_t, Wait*)
    int barrier_trip(BarrierBody*, const Handle&, Token, uint32_t)
    int barrier_give_up(BarrierBody*, const Handle&, Token, uint32_t)
    void barrier_break(BarrierBody*, const Handle&, Token)
    void barrier_reset(BarrierBody*, const Handle&, Token)

cdef extern from "rwlock_ops.hpp" namespace "treadle::core" nogil:
    cdef enum:
        WOULD_WAIT_FOR_ITSELF "treadle::core::kWouldWaitForItself"
        NO_MEMORY "static_cast<int>(treadle::word::Result::no_memory)"

    enum OnDeath "treadle::word::OnDeath":
        REPORT "treadle::word::OnDeath::report"
        ADOPT "treadle::word::OnDeath::adopt"
        MARK "treadle::word::OnDeath::mark"

    cppclass RWLockBody "treadle::core::RWLockBody<treadle::core::SharedWorld>":
        uint64_t holder
        int64_t since
        char label[36]
    bint make_rwlock(Mapping*, Token, const char*, Handle&)
    void rwlock_initialise(RWLockBody&, const char*)
    void rwlock_free_private(RWLockBody*)
    bint rwlock_try_read(RWLockBody*, const Handle&, Token)
    bint rwlock_try_write(RWLockBody*, const Handle&, Token)
    int rwlock_read(RWLockBody*, const Handle&, Token, int64_t, OnDeath, Token*)
    int rwlock_write(RWLockBody*, const Handle&, Token, int64_t, OnDeath, Token*)
    cppclass ReadTicket:
        pass
    int rwlock_read_attempt(RWLockBody*, const Handle&, Token, bint, OnDeath, ReadTicket*, Token*, Wait*)
    bint rwlock_cancel_read(RWLockBody*, const Handle&, Token, ReadTicket*)
    int rwlock_write_attempt(RWLockBody*, const Handle&, Token, bint, OnDeath, Token*, Wait*)
    void rwlock_cancel_write(RWLockBody*, const Handle&, Token)
    int rwlock_end_read(RWLockBody*, const Handle&, Token)
    int rwlock_end_write(RWLockBody*, const Handle&, Token)
    int rwlock_restore(RWLockBody*, const Handle&, Token)
    uint32_t rwlock_reads_of(RWLockBody*, const Handle&, Token)
    uint32_t rwlock_reads(RWLockBody*, const Handle&, Token)
    bint rwlock_is_mine(RWLockBody*, Token)
    bint rwlock_is_written(RWLockBody*, const Handle&)
    bint rwlock_is_inconsistent(RWLockBody*)
    Token rwlock_writer(RWLockBody*)

cdef extern from "treadle/platform/memory.hpp" namespace "treadle::platform" nogil:
    const uint64_t HUGE_PAGE "treadle::platform::kHugePage"
    void* map_private(uint64_t)
    void unmap(void*, uint64_t)

cdef extern from "treadle/platform/threads.hpp" namespace "treadle::platform" nogil:
    Token private_token()
    Token new_private_token()
    void install_private_threads()

cdef extern from "queue_ops.hpp" namespace "treadle::core" nogil:
    cdef enum:
        LARGEST_FRAME "treadle::core::kLargestFrame"
        LARGEST_FRAME_BYTES "treadle::core::kLargestFrameBytes"
        MESSAGE_FRAME_BYTES "treadle::core::kMessageFrameBytes"
        FRAME_HEADER "sizeof(treadle::core::Frame)"

    uint32_t NO_SLOT "treadle::core::kNoSlot"

    cppclass Taken:
        uint32_t items
        uint32_t bytes
        uint32_t slot

    cppclass LeaseName:
        uint64_t lease
        uint64_t slot

    cppclass Frame:
        uint32_t size
        uint16_t deliveries
        int32_t pid
        uint32_t tag

    cppclass RingMessage:
        pass
    cppclass MessageHold:
        RingMessage* message
        uint32_t slot

    struct QueueFigures:
        uint64_t size
        uint64_t bytes
        uint64_t puts
        uint64_t taken
        uint64_t unfinished
        uint64_t redelivered
        uint64_t max_items
        uint64_t max_bytes
        uint32_t leased
        bint shut

    bint make_queue(Mapping*, Token, uint64_t, uint64_t, const char*, Handle&)
    const char* queue_label(const Handle&)
    uint64_t queue_size(const Handle&)
    bint queue_full(const Handle&)
    void queue_figures(const Handle&, QueueFigures&)
    int queue_put(const Handle&, Token, const char*, uint32_t, int64_t, Taken*)
    int queue_get(const Handle&, Token, uint32_t, char*, uint32_t, int64_t, Taken*)
    int queue_lease(const Handle&, Token, char*, int64_t, LeaseName*, Taken*)
    int queue_put_attempt(const Handle&, Token, bint, const char*, uint32_t, Taken*, Wait*)
    int queue_get_attempt(const Handle&, Token, bint, uint32_t, char*, uint32_t, Taken*, Wait*)
    int queue_lease_attempt(const Handle&, Token, bint, char*, LeaseName*, Taken*, Wait*)
    int queue_join_attempt(const Handle&, Token, bint, Wait*)
    int queue_ack(const Handle&, Token, const LeaseName&)
    int queue_nack(const Handle&, Token, const LeaseName&)
    int queue_done(const Handle&, Token, uint64_t)
    int queue_join(const Handle&, Token, int64_t)
    int queue_discard(const Handle&, Token, char*, Taken*)
    void queue_shut_down(const Handle&, bint)

    bint make_message(Mapping*, Token, uint64_t, MessageHold*)
    char* message_data(const MessageHold&)
    void write_message_frame(Mapping*, const MessageHold&, uint64_t, uint32_t, char*)
    void write_frame_header(Mapping*, uint32_t, uint32_t, char*)
    bint frame_is_message(const char*)
    void read_message_frame(Mapping*, const char*, uint32_t, MessageHold*, uint64_t*)
    const Frame* frame_at(const char*)
    uint32_t padded "treadle::ring::padded"(uint32_t)

cdef extern from "ordered_ops.hpp" namespace "treadle::core" nogil:
    cdef enum:
        RECORD_HEADER "treadle::core::kRecordHeader"
        SHORT_KEY "treadle::core::kShortKey"
        SHORT_RECORD_WORDS "treadle::core::kShortRecordWords"

    bint make_ordered(Mapping*, Token, bint, uint64_t, uint64_t, const char*, Handle&)
    const char* ordered_label(const Handle&)
    uint64_t ordered_size(const Handle&)
    bint ordered_full(const Handle&)
    void ordered_figures(const Handle&, QueueFigures&)
    int ordered_put(const Handle&, Token, const char*, uint32_t, int64_t, Taken*)
    int ordered_get(const Handle&, Token, uint32_t, char*, uint32_t, int64_t, Taken*)
    int ordered_lease(const Handle&, Token, char*, int64_t, LeaseName*, Taken*)
    int ordered_put_attempt(const Handle&, Token, bint, const char*, uint32_t, Taken*, Wait*)
    int ordered_get_attempt(const Handle&, Token, bint, uint32_t, char*, uint32_t, Taken*, Wait*)
    int ordered_lease_attempt(const Handle&, Token, bint, char*, LeaseName*, Taken*, Wait*)
    int ordered_join_attempt(const Handle&, Token, bint, Wait*)
    int ordered_ack(const Handle&, Token, const LeaseName&)
    int ordered_nack(const Handle&, Token, const LeaseName&)
    int ordered_done(const Handle&, Token, uint64_t)
    int ordered_join(const Handle&, Token, int64_t)
    int ordered_discard(const Handle&, Token)
    void ordered_shut_down(const Handle&, bint)
    uint64_t write_record_header(char*, uint32_t)
    bint compares_as(object, object)

cdef extern from "map_ops.hpp" namespace "treadle::core" nogil:
    cdef enum:
        KIND_MAP "static_cast<int>(treadle::arena::Kind::map)"
        NO_ROOM "static_cast<int>(treadle::word::Result::no_room)"
        LARGEST_PART "treadle::core::kLargestPart"

    struct LargeName "treadle::map::LargeName":
        uint64_t block
        uint64_t bytes
    struct MapFound "treadle::map::Found":
        uint64_t entry
        uint32_t bytes
        uint32_t slot
        LargeName large
    cppclass MapPart:
        MapPart()
        const char* bytes
        uint64_t size
        uint64_t large
    enum ConditionKind "treadle::map::Condition::Kind":
        PUT_ALWAYS "treadle::map::Condition::always"
        PUT_ABSENT "treadle::map::Condition::absent"
        PUT_SAME "treadle::map::Condition::same"
    cppclass MapCondition:
        MapCondition()
        ConditionKind kind
        uint64_t entry
    struct MapBasket "treadle::map::Basket":
        char* data
        uint64_t records
        bint values
    struct MapFigures "treadle::map::Figures":
        uint64_t count
        uint64_t buckets
        uint64_t bytes
        uint64_t memory
        uint64_t large
        uint32_t mended
    struct MapNumber:
        char tag
        int64_t integer
        double real
    struct RecordHead "treadle::map::Record":
        uint64_t entry
        uint32_t form_slot
        uint32_t value_slot
    cppclass PartSizes "treadle::map::Sizes":
        uint32_t key
        uint16_t form
        uint16_t value
        uint64_t form_at()
        uint64_t value_at()
    struct MapRecord:
        RecordHead head
        PartSizes sizes
        const char* content

    bint make_map(Mapping*, Token, const char*, Handle&)
    const char* map_label(const Handle&)
    bint share_handle(const Handle&, Token, Handle&)
    int map_find(const Handle&, Token, const char*, uint32_t, char*, MapFound*)
    int map_put(const Handle&, Token, const char*, uint32_t, const MapPart&, const MapPart&, const MapCondition&)
    int map_remove(const Handle&, Token, const char*, uint32_t)
    int map_pop(const Handle&, Token, const char*, uint32_t, char, char*, MapFound*)
    int map_remove_entry(const Handle&, Token, uint64_t)
    int map_clear(const Handle&, Token)
    int map_add(const Handle&, Token, const char*, uint32_t, const MapPart&, const MapNumber&, char, char, char*, MapFound*)
    int map_count(const Handle&, Token, uint64_t*)
    MapFigures map_figures(const Handle&)
    const char* read_record(const char*, MapRecord*)
    void drop_records(const Handle&, MapBasket&, const char*, uint64_t)
    int map_copy(const Handle&, Token, bint, MapBasket*)
    bint is_large "treadle::map::is_large"(uint32_t)
    void message_of_large(const Handle&, const LargeName&, uint32_t, MessageHold*)
    LargeName large_name(const char*)
    MapPart large_part(Mapping*, const MessageHold&, uint64_t)
    uint64_t object_ref(const Handle&)
    const uint64_t* identity_of(const Handle&)
    bint hold_objects(Mapping*, Token, const MessageHold&, const uint64_t*, uint32_t)
    LockBody* map_lock_of(const Handle&)
    bint map_locked_against(const Handle&, Token)
    void map_pass(const Handle&)
    bint map_locked_by_task_here(const Handle&)
    bint equals_as(object, object)

cdef extern from "treadle/platform/named_file.hpp" namespace "treadle::platform" nogil:
    enum Refusal "treadle::platform::Refusal":
        SYMBOLIC_LINK "treadle::platform::Refusal::symbolic_link"
        NOT_REGULAR "treadle::platform::Refusal::not_regular"
        FOREIGN "treadle::platform::Refusal::foreign"
        EXPOSED "treadle::platform::Refusal::exposed"
        HARD_LINKED "treadle::platform::Refusal::hard_linked"
    struct Refused:
        Refusal why
        int error

cdef extern from "names.hpp" namespace "treadle::core" nogil:
    cdef enum:
        LONGEST_NAME "treadle::core::kLongestName"
        LONGEST_DESCRIPTION "treadle::core::kLongestDescription"

    enum NamedError "treadle::core::NamedError":
        NO_NAMED_ERROR "treadle::core::NamedError::none"
        NAMES_ABSENT "treadle::core::NamedError::absent"
        NAMES_REFUSED "treadle::core::NamedError::refused"
        NAMES_INTERRUPTED "treadle::core::NamedError::interrupted"
        NAMES_NOT_AN_ARENA "treadle::core::NamedError::not_an_arena"
        NAMES_DAMAGED "treadle::core::NamedError::damaged"
        NAMES_OTHER_VERSION "treadle::core::NamedError::other_version"
        NAMES_OTHER_NAMESPACE "treadle::core::NamedError::other_namespace"
        NAMES_FULL "treadle::core::NamedError::full"
    struct NamedFailure:
        NamedError error
        Refused refused
        bint removed
    Mapping* open_named_arena(const char*, uint64_t, bint, NamedFailure&)
    void leave_at_exit "treadle::core::Named::leave_at_exit"()

    enum NameOutcome "treadle::core::NameOutcome":
        NAME_FOUND "treadle::core::NameOutcome::found"
        NAME_ABSENT "treadle::core::NameOutcome::absent"
        NAME_DIFFERENT "treadle::core::NameOutcome::different"
        NAME_FULL "treadle::core::NameOutcome::full"
    struct Text "treadle::core::Text":
        const char* data
        uint32_t bytes
    struct Description "treadle::core::Description":
        char* text
        uint32_t bytes
    NameOutcome open_name(Mapping*, Token, Text, Text, bint, const Handle*, Handle&, Description&)
    void sweep_name(Mapping*, Token, Text)
    Text name_of(const Handle&)
    struct NameFigures "treadle::core::NameFigures":
        char* name
        Description description
        uint32_t name_bytes
        uint32_t users
        int32_t* pids
        uint64_t bytes
        bint persistent
        Ticket ticket
    bint next_name(Mapping*, Token, uint32_t&, NameFigures&)
    uint32_t count_processes(Mapping*, Token)
    bint may_persist(Mapping*)
    bint release_name(Mapping*, Token, Text)

cdef extern from "treadle/platform/pipe.hpp" namespace "treadle::platform" nogil:
    struct BellPipe:
        int read
        int write
    bint make_bell(BellPipe&)
    void close_bell(int)
    void ring_own_bell(int)

cdef extern from "bell_files.hpp" namespace "treadle::core" nogil:
    bint bell_file_is_useless(Mapping*, const char*, const char*)

cdef extern from "channel_ops.hpp" namespace "treadle::core" nogil:
    cdef enum:
        KIND_CHANNEL "static_cast<int>(treadle::arena::Kind::channel)"
        GONE "static_cast<int>(treadle::word::Result::gone)"

    cppclass EndUsers:
        uint32_t count()
        void enter()
        uint32_t leave()

    cppclass ChannelEnd:
        Handle handle
        uint32_t side
        int bell
        int other
        EndUsers users

    struct ChannelFigures:
        uint64_t received
        uint64_t incoming
        uint64_t incoming_bytes
        uint64_t sent
        uint64_t outgoing
        uint64_t outgoing_bytes
        bint exposed

    bint make_channel(Mapping*, Token, bint, uint64_t, const char*, Handle&)
    bint take_end(ChannelEnd&, Refused&)
    void drop_end(ChannelEnd&)
    bint can_receive(const ChannelEnd&)
    bint can_send(const ChannelEnd&)
    void expose_end(const ChannelEnd&)
    int channel_send(ChannelEnd&, Token, const char*)
    int channel_receive(ChannelEnd&, Token, char*, Taken*)
    int channel_poll(ChannelEnd&, Token, int64_t)
    int channel_send_attempt(const ChannelEnd&, Token, bint, const char*, Wait*)
    int channel_receive_attempt(const ChannelEnd&, Token, bint, char*, Taken*, Wait*)
    void doubt_channel(Place&, const ChannelEnd&)
    void tell_of_close(const ChannelEnd&)
    void channel_figures(const ChannelEnd&, ChannelFigures&)
    const char* channel_label(const ChannelEnd&)

cdef extern from "Python.h":
    ctypedef int (*Visit "visitproc")(PyObject*, void*) noexcept
    ctypedef int (*Traverse "traverseproc")(PyObject*, Visit, void*) noexcept
    ctypedef int (*Clear "inquiry")(PyObject*) noexcept
    ctypedef struct CollectedType "PyTypeObject":
        const char* tp_name
        Traverse tp_traverse
        Clear tp_clear

cdef extern from "local_ops.hpp" namespace "treadle::core" nogil:
    cppclass LocalGates "treadle::core::LocalQueue::Gates":
        uint64_t count()
        bint full()
        bint is_shut()
        bint has_moved()
        void give_up_move()
        void set_max_items(uint64_t)
        void set_unfinished(uint64_t)
        void settle()
        void forget_leases()
    cppclass LocalQueue:
        LocalGates gates
        void* item_at(uint64_t)
        void free_memory()
    cppclass GuardedTurnstile:
        void initialise(uint64_t max_items)
        void set_max_items(uint64_t)
        void set_unfinished(uint64_t)
        uint64_t unfinished()
        uint64_t count()
        bint full()
        bint is_shut()
        bint has_moved()
        void give_up_move()
        void move_to(GuardedTurnstile&)
        void lend()
        void settle()
        void forget_leases()
        void end_put(uint64_t count, uint32_t added, const Wait&)
        void end_get(uint64_t count, uint32_t taken, const Wait&)
        void end_return(uint64_t count)
        void end_look(uint64_t count)
        void end_shut_down(uint64_t count, uint64_t dropped)
    void local_initialise(LocalQueue*, uint64_t, bint)
    bint local_put_now(LocalQueue*, void*)
    bint local_get_now(LocalQueue*, void**, bint lease)
    int local_put(LocalQueue*, void*, int64_t&)
    int local_get(LocalQueue*, void**, bint lease, bint until_settled, int64_t&)
    int local_return(LocalQueue*, void*)
    int local_shut_down(LocalQueue*, bint, object)
    int local_begin_move(LocalQueue*)
    void local_end_move(LocalQueue*, GuardedTurnstile*)
    int local_visit(LocalQueue*, Visit, void*)
    int gates_done(LocalGates*, uint64_t, bint)
    int gates_done(GuardedTurnstile*, uint64_t, bint)
    int gates_join_attempt(LocalGates*, Wait*)
    int gates_join_attempt(GuardedTurnstile*, Wait*)
    int guarded_begin_put_attempt(GuardedTurnstile*, Wait*)
    int guarded_begin_get_attempt(GuardedTurnstile*, bint until_settled, Wait*)
    int local_put_attempt(LocalQueue*, void*, Wait*)
    int gates_room_attempt(GuardedTurnstile*, Wait*)
    void gates_pass_on(GuardedTurnstile*, bint room)
    int gates_item_attempt(GuardedTurnstile*, Wait*)
    int local_get_attempt(LocalQueue*, void**, bint lease, bint until_settled, Wait*)
    int gates_join(LocalGates*, int64_t&)
    int gates_join(GuardedTurnstile*, int64_t&)
    void gates_figures(LocalGates*, QueueFigures*)
    void gates_figures(GuardedTurnstile*, QueueFigures*)
    int guarded_begin_put(GuardedTurnstile*, int64_t&, Wait*)
    int guarded_begin_get(GuardedTurnstile*, bint until_settled, int64_t&, Wait*)
    int guarded_begin_return(GuardedTurnstile*)
    void guarded_begin_look(GuardedTurnstile*)
    int guarded_enter(GuardedTurnstile*, int64_t)
    int guarded_begin_shut_down(GuardedTurnstile*, bint)
    bint guarded_is_anyones(GuardedTurnstile*)
    bint guarded_is_mine(GuardedTurnstile*)

cdef extern from "task_ops.hpp" namespace "treadle::core" nogil:
    cppclass Place:
        void* owner
        bint told_to
    bint task_park(Place&, Mapping*, const Wait&, bint)
    void doubt_always(Place&)
    void doubt_owner(Place&, LockBody*)
    void doubt_ring(Place&, const Handle&)
    void doubt_ordered(Place&, const Handle&)
    enum Spun "treadle::core::Spun":
        SPUN_PARK "treadle::core::Spun::park"
        SPUN_ATTEMPT "treadle::core::Spun::attempt"
        SPUN_GIVE_WAY "treadle::core::Spun::give_way"
    Spun task_spin(const Wait&)
    void task_told_from_elsewhere()
    void lock_line_up(LockBody*, Wait*)
    void semaphore_line_up(SemaphoreBody*, Wait*)
    void permits_line_up(PermitsBody*, Wait*)
    cppclass TaskLine:
        uint32_t count()
        uint64_t join()
        void leave(uint64_t)
    const void* calling_loop()
    void called_by_loop(const void*)
    void task_begin_attempt(Place&, const void*)
    void task_end_attempt()
    void task_leave(Place&, Mapping*, bint)
    void need_reactor(Mapping*, Token)
    void rouse_reactor()
    bint task_looks_into_section(int64_t*)
    void reactor_turn(int64_t*)
    bint tasks_notified()
    void* take_notified()
    void install_tasks()

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1
    int PyErr_WarnEx(object category, const char* message, Py_ssize_t stack_level) except -1
    object PyBytes_FromStringAndSize(const char*, Py_ssize_t)
    object PyByteArray_FromStringAndSize(const char*, Py_ssize_t)
    char* PyByteArray_AS_STRING(object)
    char* PyBytes_AS_STRING(object)
    Py_ssize_t PyBytes_GET_SIZE(object)
    bint PyBytes_CheckExact(object)
    bint PyLong_CheckExact(object)
    bint PyFloat_CheckExact(object)
    bint PyUnicode_CheckExact(object)
    bint PyTuple_CheckExact(object)
    bint PyBool_Check(object)
    long long PyLong_AsLongLongAndOverflow(object, int* overflow) except? -1
    object PyLong_FromLongLong(long long)
    object PyLong_FromUnsignedLongLong(unsigned long long)
    unsigned long long PyLong_AsUnsignedLongLongMask(object) except? 0xdead
    double PyFloat_AS_DOUBLE(object)
    object PyFloat_FromDouble(double)
    void* PyUnicode_DATA(object)
    int PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    const char* PyUnicode_AsUTF8AndSize(object, Py_ssize_t*) except NULL
    object PyUnicode_DecodeUTF8(const char*, Py_ssize_t, const char*)
    double PyLong_AsDouble(object) except? -1
    Py_ssize_t PyTuple_GET_SIZE(object)
    PyObject* PyTuple_GET_ITEM(object, Py_ssize_t)
    object PyTuple_New(Py_ssize_t)
    void PyTuple_SET_ITEM(object, Py_ssize_t, object)

cdef extern from "memory_ops.hpp" namespace "treadle::core" nogil:
    cdef enum:
        KIND_MEMORY "static_cast<int>(treadle::arena::Kind::memory)"
    cppclass MemoryHead "treadle::core::MemoryHead":
        char label[48]
    bint make_memory(Mapping*, Token, uint64_t, const char*, Handle&)
    uint64_t memory_bytes(const SharedBlock*)
    char* memory_data(SharedBlock*)
    MemoryHead* memory_head(SharedBlock*)
    uint64_t integer_load(void*, unsigned int)
    void integer_write(void*, unsigned int, uint64_t)
    void integer_store(void*, unsigned int, uint64_t)
    uint64_t integer_exchange(void*, unsigned int, uint64_t)
    uint64_t integer_fetch_add(void*, unsigned int, uint64_t)
    bint integer_compare_exchange(void*, unsigned int, uint64_t, uint64_t)
