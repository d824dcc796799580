// ring/layout.hpp: what a by-value queue consists of in the arena.
//
//   QueueState (block)  -> chunk -> chunk -> chunk        a chain: consumers at the first, producers at the last
//                       -> messages                       blocks that frames too large for a chunk refer to
//                       -> table of leases -> leases      items out on lease, with a copy of their bytes
//
// All of these belong to the queue's block and die with it. A chunk holds frames, one behind the other; the last frame
// of a chunk that has a successor is a jump.
#pragma once

#include <atomic>
#include <cstdint>

#include "../arena/layout.hpp"
#include "bell.hpp"

namespace treadle::ring {

using arena::Block;
using arena::BlockRef;
using arena::Offset;

enum class FrameKind : std::uint16_t {
    bytes = 1,    // the payload is the item's bytes
    message = 2,  // the payload is a BlockRef and the number of bytes in that block
    jump = 3,     // no item: go on in the next chunk
};

struct Frame {
    std::uint32_t size;  // of the payload
    FrameKind kind;
    std::uint16_t deliveries;  // how often it was handed out before
    std::int32_t pid;          // who put it, for the error message of an item that cannot be read
    std::uint32_t tag;         // the caller's
};
static_assert(sizeof(Frame) == 16);

struct MessagePayload {
    BlockRef message;
    std::uint64_t bytes;
};

// What an attempt took (or, of a put: took over).
inline constexpr std::uint32_t kNoSlot = ~std::uint32_t{0};
struct Taken {
    std::uint32_t items = 0;
    std::uint32_t bytes = 0;       // frames copied out, end to end
    std::uint32_t slot = kNoSlot;  // the caller's reference to a message: then it is the only item
};

// Names a lease to its holder.
struct LeaseName {
    BlockRef lease = 0;
    std::uint64_t slot = 0;
};

constexpr std::uint32_t padded(std::uint32_t size) noexcept { return (size + 7u) & ~7u; }
constexpr std::uint32_t frame_bytes(std::uint32_t size) noexcept { return static_cast<std::uint32_t>(sizeof(Frame)) + padded(size); }

inline constexpr std::uint32_t kFirstChunk = 4096, kChunk = 64 * 1024;
inline constexpr std::uint32_t kLargestFrame = 8 * 1024;  // payload; larger items become messages

template <class World>
struct Chunk {
    Block<World> block;
    std::uint64_t order;  // + 1 from chunk to chunk
    Offset next;
    // frames follow
    char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
    std::uint32_t room() const noexcept { return static_cast<std::uint32_t>(block.bytes - sizeof(Chunk)); }
};

template <class World>
struct Message {
    Block<World> block;
    std::uint64_t birth;  // the count of puts when it was put: its item's index
    std::uint64_t unused;
    char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
};

// state: 63..4 the holder's token | 0 1 = out on lease, 0 = ready to be delivered again
inline constexpr std::uint64_t kLeased = 1;
template <class World>
struct Lease {
    Block<World> block;
    typename World::template Atom<std::uint64_t> state;
    std::uint64_t birth;  // its item's index
    Frame frame;
    BlockRef message;  // 0: the payload follows
    std::uint64_t unused;
    char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
};

template <class World>
struct LeaseTable {
    Block<World> block;
    std::uint64_t capacity;
    std::uint64_t unused;
    BlockRef entries[1];  // capacity of them; 0: free
    static std::uint64_t bytes_for(std::uint64_t capacity) noexcept { return sizeof(LeaseTable) + (capacity - 1) * sizeof(BlockRef); }
};

// Where one end of the queue stands. The end's version says which of two cursors is valid, so that a position is
// replaced as a whole by one store.
template <class World>
struct Cursor {
    Offset chunk;
    typename World::template Atom<std::uint64_t> bytes;  // that passed this end, ever; the other end reads it
    std::uint32_t position;
    std::uint32_t unused;
};

template <class World>
struct End {
    word::Mutex<World> mutex;
    typename World::template Atom<std::uint64_t> version;  // items that passed, << 1 | which cursor
    Cursor<World> cursors[2];
    std::uint64_t seen;   // the other end's version, as last looked up
    std::uint32_t dirty;  // the section began a step that takes more than one store: who comes after a death must collect()
    std::uint32_t unused;

    void set_dirty(std::uint32_t value) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        dirty = value;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
};

enum class QueueMode : std::uint32_t { open = 0, shut = 1, shut_now = 2 };

template <class World>
struct QueueState {
    Block<World> block;
    std::uint64_t max_items, max_bytes;  // 0: unbounded
    typename World::template Atom<std::uint32_t> mode;
    std::uint32_t unused;

    alignas(64) End<World> tail;  // producers'
    alignas(64) End<World> head;  // consumers'

    alignas(64) Bell<World> getters;
    Bell<World> putters;
    Bell<World> joiners;
    typename World::template Atom<std::uint32_t> leased;  // items out on lease; recomputed by collect()
    typename World::template Atom<std::uint32_t> ready;   // items given back, to be delivered again; recomputed
    std::uint32_t unused_too;
    typename World::template Atom<std::uint64_t> done;         // items that were declared done
    typename World::template Atom<std::uint64_t> redelivered;  // deliveries beyond the first
    typename World::template Atom<std::int64_t> inspected_at;  // when the leases' holders were last looked at
    BlockRef leases;                                           // the LeaseTable; 0: none yet
    // An acknowledgement under way: the lease, its slot, and what `done` will be.
    BlockRef acked;
    std::uint64_t acked_slot, acked_done;
    char label[56];
};

}  // namespace treadle::ring
