// arena/layout.hpp: what lies where in an arena. Offsets, never pointers.
//
//   0                      Header
//   kRunsAt                Run[kUnits]          one entry for every unit of 64 KiB
//   kHeapAt .. capacity    the heap's units     runs of units: free, holes (free, without pages), large blocks, or
//                                               units cut into slots of one size
//
// Primary and derived data. After a death inside the arena's critical section the derived data is computed anew from the
// primary data (heap.hpp, rebuild). Primary: run heads, `carved`, block serials and owners, the process tables. Derived:
// everything marked so below.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "../word/mutex.hpp"

namespace treadle::arena {

using Offset = std::uint64_t;  // from the arena's first byte; 0 is none

inline constexpr std::uint64_t kMagic = 0x3130'656c'6461'6572;  // "readle01", little-endian
inline constexpr std::uint32_t kLayoutVersion = 6;  // of everything in an arena: bodies, frames and the codec, too

inline constexpr std::uint64_t kUnit = 64 * 1024;
inline constexpr std::uint64_t kCapacity = std::uint64_t{64} << 30;  // virtual; DESIGN.md's reservation
inline constexpr std::uint32_t kUnits = static_cast<std::uint32_t>(kCapacity / kUnit);
inline constexpr unsigned kGrainShift = 4;  // blocks are aligned to 16 bytes: 32 bits name any of them

// Slots: powers of two, and the size of a lock, of which programs have most. All but that one are aligned to 64 bytes.
inline constexpr std::uint32_t kLockSlot = 112;
inline constexpr std::uint32_t kSlotBytes[] = {64, kLockSlot, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
inline constexpr unsigned kClasses = sizeof kSlotBytes / sizeof *kSlotBytes;
inline constexpr std::uint32_t kLargestSlot = kSlotBytes[kClasses - 1];
constexpr unsigned slot_class_for(std::uint64_t bytes) noexcept {  // bytes <= kLargestSlot
    if (bytes <= kSlotBytes[0]) return 0;
    if (bytes <= kLockSlot) return 1;
    return static_cast<unsigned>(std::bit_width(bytes - 1)) - 5;
}
static_assert(slot_class_for(113) == 2 && slot_class_for(128) == 2 && slot_class_for(129) == 3 &&
              slot_class_for(kLargestSlot) == kClasses - 1);
constexpr std::uint32_t slots_in_unit(unsigned slot_class) noexcept {
    return static_cast<std::uint32_t>(kUnit) / kSlotBytes[slot_class];
}
inline constexpr unsigned kBins = 21;  // free runs by the logarithm of their length

enum class RunState : std::uint8_t { none = 0, free = 1, hole = 2, large = 3, small = 4 };

// A run's entry is that of its first unit; of its last unit only `first` is used, of the others nothing.
template <class World>
struct Run {
    typename World::template Atom<std::uint64_t> head;  // 63..32 length in units, 15..8 slot class, 7..0 RunState
    std::uint32_t prev, next;                           // derived: neighbours in a bin or in a class's list; 0 is none
    std::uint32_t first;                                // derived: where the run that ends here begins
    typename World::template Atom<std::uint16_t> carved;  // slots that were ever given out; those beyond hold no header
    std::uint16_t used;                                 // derived: slots in use
    std::uint16_t free_slot;                            // derived: 1 + first slot of the free list
    std::uint16_t listed;                               // derived: in its class's list
    std::uint32_t unused;
};

// Opens every block. Live: serial != 0 and (refs != 0 or the owner is live).
template <class World>
struct Block {
    typename World::template Atom<std::uint64_t> serial;  // unique for ever; 0: free. Its store makes or unmakes the block
    typename World::template Atom<std::uint64_t> owner;   // BlockRef of the block this one belongs to; 0: none
    typename World::template Atom<std::uint32_t> refs;    // derived: entries of process tables that name it
    std::uint16_t kind;                                   // Kind
    std::uint16_t next_free;                              // derived: 1 + next slot of the free list; while it lives, its owner's
    std::uint32_t first_child, prev_child, next_child;    // derived: what belongs to it, as grains
    std::uint32_t name;  // grain of the NameEntry that names it, written before it can be found; 0: none
    std::uint64_t bytes;  // that its maker asked for, this header included
};
inline constexpr std::uint64_t kBlockHeader = 48;

// What a block is. The arena itself knows only those it uses for its own books.
enum class Kind : std::uint16_t {
    none, records, references, table, lock, rlock, semaphore, permits, event, condition, barrier, queue, chunk, message,
    lease, rwlock, latch, priority_queue, lifo_queue, item, names, name, channel,
    roster, transit, memory, holds, map, map_entry, map_segment, map_directory, list, list_array, list_value,
};

// Whom the limit binds. What it takes to empty a full arena (to join it, a reference, a lease, a table of waiters) may pass
// it by a little: else those who could free memory would need some first.
enum class Budget { usual, reserve };

// A block and the one life of it that is meant: 31..0 grain, 63..32 lower half of its serial.
using BlockRef = std::uint64_t;
constexpr BlockRef make_ref(Offset at, std::uint64_t serial) noexcept { return (at >> kGrainShift) | (serial << 32); }
constexpr Offset offset_of(BlockRef ref) noexcept { return (ref & 0xffffffff) << kGrainShift; }

// Keeps objects alive for as long as its owner lives, whose bytes have handles of them: each counts as a reference.
template <class World>
struct Holds {
    Block<World> block;
    BlockRef objects[1];
    static std::uint64_t bytes_for(std::uint64_t count) noexcept { return sizeof(Block<World>) + count * sizeof(BlockRef); }
    std::uint64_t count() const noexcept { return (block.bytes - sizeof block) / sizeof(BlockRef); }
};

// Records. A token names a participant: 19..0 its index, 39..20 generation, 59..40 serial.
inline constexpr unsigned kIndexBits = 20, kGenerationBits = 20, kSerialBits = 20;
inline constexpr std::uint32_t kIndexMask = (1u << kIndexBits) - 1;
inline constexpr std::uint32_t kNoRecord = kIndexMask;

constexpr std::uint32_t token_index(word::Token t) noexcept { return t & kIndexMask; }
constexpr std::uint32_t token_generation(word::Token t) noexcept { return (t >> kIndexBits) & kIndexMask; }
constexpr std::uint32_t token_serial(word::Token t) noexcept { return (t >> (kIndexBits + kGenerationBits)) & kIndexMask; }
constexpr word::Token make_token(std::uint32_t index, std::uint32_t generation, std::uint32_t serial) noexcept {
    return word::Token{index} | (word::Token{generation & kIndexMask} << kIndexBits) |
           (word::Token{serial & kIndexMask} << (kIndexBits + kGenerationBits));
}
// A process that has no record yet goes by its pid and the low bits of its start time (platform/process.hpp, birth).
constexpr std::uint64_t boot_bits(std::uint64_t birth) noexcept { return birth & 0x3ffff; }
constexpr word::Token boot_token(std::int32_t pid, std::uint64_t birth) noexcept {
    return word::Token{kNoRecord} | (word::Token{static_cast<std::uint32_t>(pid) & 0x3fffff} << 20) | (boot_bits(birth) << 42);
}

enum class ProcessState : std::uint32_t { free = 0, pending = 1, live = 2 };

// pending: made for a child before its fork; the child makes it live. While it is pending, the child holds a lock on the
// byte of its index (platform/memory.hpp), so that a child killed before it came to life is told from a slow one.
template <class World>
struct alignas(64) ProcessRecord {
    typename World::template Atom<std::uint32_t> state;
    typename World::template Atom<std::int32_t> pid;            // this and its birth are read without the section
    typename World::template Atom<std::uint64_t> birth;
    typename World::template Atom<std::uint64_t> references;  // offset of the first ReferenceChunk
    std::int32_t fd;                                          // this process's descriptor of the arena's file
    std::uint32_t unused;
};

template <class World>
struct alignas(64) ParticipantRecord {
    typename World::template Atom<std::uint32_t> process;      // index of its process record, kNoRecord: free
    typename World::template Atom<std::uint32_t> generation;   // of the record: + 1 whenever another process takes it
    typename World::template Atom<std::uint32_t> serial;       // + 1 whenever a thread of that process takes or leaves it
    typename World::template Atom<std::int32_t> tid;
    typename World::template Atom<std::uint64_t> waiting_on;     // offset of the object it is parked on; 0: it runs
    typename World::template Atom<std::int64_t> waiting_since;   // CLOCK_MONOTONIC, ns
    typename World::template Atom<std::int32_t> pid;             // kept after its death, for the obituary
    char name[40];
    char where[43];                                              // file:line that it waits at
    bool task;                                                   // of an event loop, which the thread runs
};

inline constexpr std::uint32_t kRecordBytes = 128;
inline constexpr std::uint32_t kRecordsPerChunk = (kUnit - 64) / kRecordBytes;
inline constexpr std::uint32_t kDirectory = 1024;  // chunks of records: half a million of each kind

// The references that a process holds, one entry a handle.
inline constexpr std::uint32_t kReferencesPerChunk = (4096 - 64) / 4;
template <class World>
struct ReferenceChunk {
    Block<World> block;
    typename World::template Atom<std::uint64_t> next;  // offset
    std::uint64_t unused;
    typename World::template Atom<std::uint32_t> entries[kReferencesPerChunk];  // grains; 0: free
};

// Event loops. A process whose tasks wait for objects of the arena has one of these, its *reactor*, and is subscribed to
// the buckets (of futex words) that they wait in (tasks/doorbells.hpp).
inline constexpr std::uint32_t kReactors = 128, kWakeBuckets = 512;

template <class World>
struct alignas(64) ReactorRecord {
    typename World::template Atom<std::uint32_t> bell;     // + 1 with every ring: what its thread sleeps on
    typename World::template Atom<std::uint32_t> process;  // 1 + index of the process's record; 0: free
    typename World::template Atom<std::uint64_t> rung[2][kWakeBuckets / 64];  // buckets with a wake for one, for all
};

// Names of objects (names.hpp): chunks of slots, each slot the hash of a name and the entry that holds it.
template <class World>
struct NameSlot {
    typename World::template Atom<BlockRef> entry;  // 0, or one that is gone: free
    std::uint32_t hash;
    std::uint32_t unused;
};
inline constexpr std::uint32_t kNamesPerChunk = (4096 - 64) / 16;
template <class World>
struct NameChunk {
    Block<World> block;
    typename World::template Atom<std::uint64_t> next;  // offset
    std::uint64_t unused;
    NameSlot<World> slots[kNamesPerChunk];
};
// Belongs to the object that it names, and is never changed. The name's bytes follow, then the description's.
template <class World>
struct NameEntry {
    Block<World> block;
    BlockRef object;
    std::uint16_t name_bytes, description_bytes;
    std::uint32_t unused;
};

template <class World>
struct alignas(64) Header {
    template <class T>
    using Atom = typename World::template Atom<T>;

    // This much is the same in all versions from 2 on, so that what another one left behind can be judged.
    Atom<std::uint64_t> magic;  // the last thing its maker writes
    std::uint32_t version;
    std::uint32_t header_bytes;
    std::uint64_t identity[2];          // random
    std::uint64_t boot;                 // of a file with a path: the machine's boot that it belongs to; 0: an anonymous one
    Atom<std::uint32_t> may_persist;    // 0: no object in it outlives its users; 1: one may
    std::uint32_t unused;

    std::uint64_t namespaces;
    std::int32_t creator_pid;
    std::int32_t creator_fd;
    std::uint64_t creator_birth;

    alignas(64) word::Mutex<World> mutex;  // the arena's critical section
    Atom<std::uint64_t> next_serial;
    Atom<std::uint64_t> limit_units;    // backed units may not pass this
    Atom<std::uint64_t> backed_units;   // derived
    Atom<std::uint64_t> used_units;     // derived
    Atom<std::uint64_t> blocks;         // derived: live blocks
    Atom<std::uint32_t> top;            // the first unit that was never part of a run
    std::uint32_t free_bins[kBins];     // derived
    std::uint32_t hole_bins[kBins];     // derived
    std::uint32_t class_lists[kClasses];  // derived: units with a free slot
    std::uint32_t forsaken;             // derived: grain of the first block that nothing holds any more and free() has to free
    Atom<std::uint64_t> rebuilds;       // how often the derived data was computed anew
    Atom<std::int64_t> swept_at;        // when somebody last looked for dead processes

    Atom<std::uint32_t> process_chunks[kDirectory];      // units; 0: none
    Atom<std::uint32_t> participant_chunks[kDirectory];
    Atom<std::uint32_t> process_limit;             // indices that were ever used lie below
    Atom<std::uint32_t> participant_limit;
    Atom<std::uint32_t> reactor_limit;             // indices of reactors that were ever used lie below
    Atom<std::uint32_t> wakes;                     // counts wakes for one, so that threads and tasks take turns
    Atom<std::uint64_t> subscribed[kWakeBuckets][kReactors / 64];
    ReactorRecord<World> reactors[kReactors];
    Atom<std::uint32_t> participant_hint;          // where to look for a free one first: late reuse keeps obituaries

    Atom<std::uint64_t> names;  // offset of the first NameChunk; 0: nothing was ever named
};

inline constexpr Offset kRunsAt = kUnit;
inline constexpr Offset kHeapAt = kRunsAt + std::uint64_t{kUnits} * 32;
inline constexpr std::uint32_t kFirstUnit = static_cast<std::uint32_t>(kHeapAt / kUnit);

template <class World>
struct LayoutCheck {
    static_assert(sizeof(Run<World>) == 32 && kHeapAt % kUnit == 0);
    static_assert(sizeof(Block<World>) == 48 && kBlockHeader == 48 && kBlockHeader == sizeof(Block<World>) + 0);
    static_assert(sizeof(ProcessRecord<World>) <= kRecordBytes && sizeof(ParticipantRecord<World>) == kRecordBytes);
    static_assert(sizeof(ReferenceChunk<World>) <= 4096);
    static_assert(sizeof(NameSlot<World>) == 16 && sizeof(NameChunk<World>) <= 4096);
    static_assert(sizeof(Header<World>) <= kUnit);
};

}  // namespace treadle::arena
