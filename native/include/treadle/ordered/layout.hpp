// ordered/layout.hpp: what a by-value queue that is not first in, first out consists of in the arena.
//
//   OrderedState (block)  -> items     one block each: order key, state word, frame; an item owns its message
//                         -> Table     where each item stands: derived from the items' state words
//
// All of these belong to the queue's block and die with it. Frames and messages are those of ring/layout.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "../ring/bell.hpp"
#include "../ring/layout.hpp"

namespace treadle::ordered {

using arena::Block;
using arena::BlockRef;
using ring::Frame;
using ring::FrameKind;
using ring::frame_bytes;
using ring::kNoSlot;
using ring::LeaseName;
using ring::MessagePayload;
using ring::padded;
using ring::QueueMode;
using ring::Taken;

enum class Order : std::uint32_t {
    by_key = 1,        // least key first (bytes as memcmp has them, then the shorter one), among equals the oldest
    newest_first = 2,  // keys are empty
};

// What a put is given: records, end to end. The key follows, padded, and behind it the frame.
struct Record {
    std::uint32_t key_bytes;
    std::uint32_t unused;

    const char* key() const noexcept { return reinterpret_cast<const char*>(this + 1); }
    const Frame* frame() const noexcept { return reinterpret_cast<const Frame*>(key() + padded(key_bytes)); }
    std::uint32_t bytes() const noexcept { return static_cast<std::uint32_t>(sizeof(Record)) + padded(key_bytes) + frame_bytes(frame()->size); }
};
static_assert(sizeof(Record) == 8);

inline bool is_message(const Frame* frame) noexcept { return frame->kind == FrameKind::message; }
inline MessagePayload message_of(const Frame* frame) noexcept {
    MessagePayload payload;
    std::memcpy(&payload, frame + 1, sizeof payload);
    return payload;
}
// What counts against max_bytes.
inline std::uint64_t weight(const Frame* frame, std::uint32_t key_bytes) noexcept {
    return padded(key_bytes) + (is_message(frame) ? message_of(frame).bytes : frame_bytes(frame->size));
}
inline std::uint64_t weight(const Record* record) noexcept { return weight(record->frame(), record->key_bytes); }

// An item's state word:  2..0 Standing | 3 which of two counts of deliveries is valid | 63..4 by standing:
// out: the holder's token; done: what the queue's count of done items is with it.
enum class Standing : std::uint64_t {
    made = 0,   // not put yet
    ready = 1,  // in the queue
    out = 2,    // on lease
    got = 3,    // gone
    done = 4,   // gone, and done
};
constexpr Standing standing_of(std::uint64_t state) noexcept { return static_cast<Standing>(state & 7); }
constexpr unsigned valid_count_of(std::uint64_t state) noexcept { return (state >> 3) & 1; }
constexpr std::uint64_t rest_of(std::uint64_t state) noexcept { return state >> 4; }
constexpr std::uint64_t make_state(Standing standing, unsigned valid_count, std::uint64_t rest = 0) noexcept {
    return (rest << 4) | (std::uint64_t{valid_count} << 3) | static_cast<std::uint64_t>(standing);
}

template <class World>
struct Item {
    Block<World> block;
    typename World::template Atom<std::uint64_t> state;
    std::uint64_t sequence;       // how many were put before it
    std::uint32_t deliveries[2];  // how often it was handed out; the state says which counts
    std::uint32_t place;          // derived: of an item on lease, among those in the table
    std::uint32_t key_bytes;
    // the key follows, padded, and behind it the frame
    char* key() noexcept { return reinterpret_cast<char*>(this + 1); }
    Frame* frame() noexcept { return reinterpret_cast<Frame*>(key() + padded(key_bytes)); }
    Standing standing() const noexcept { return standing_of(state.load(std::memory_order_relaxed)); }
    std::uint64_t weight() noexcept { return ordered::weight(frame(), key_bytes); }
    std::uint32_t delivered() const noexcept { return deliveries[valid_count_of(state.load(std::memory_order_relaxed))]; }
};

struct Entry {
    std::uint64_t rank;  // what decides most comparisons without a look at the item: table.hpp
    BlockRef item;
};

// Ready items from the front, as a heap; those on lease from the back, in no order.
template <class World>
struct Table {
    Block<World> block;
    std::uint64_t capacity;
    std::uint64_t unused;
    Entry entries[1];  // capacity of them
    static std::uint64_t bytes_for(std::uint64_t capacity) noexcept { return sizeof(Table) + (capacity - 1) * sizeof(Entry); }
};
inline constexpr std::uint64_t kFirstCapacity = 24;  // a table of 448 bytes

template <class World>
struct OrderedState {
    template <class T>
    using Atom = typename World::template Atom<T>;

    Block<World> block;
    std::uint64_t max_items, max_bytes;  // 0: unbounded
    Order order;
    Atom<std::uint32_t> mode;

    alignas(64) word::Mutex<World> mutex;  // guards all that follows; read without it are the counts, mode and dirty
    Atom<std::uint32_t> dirty;             // a step began that takes more than one store: who comes after a death must recover()
    std::uint32_t unused;
    BlockRef table;
    Atom<std::uint64_t> puts;         // the next item's sequence; behind a death: of those that recover() finds, too
    Atom<std::uint64_t> done;         // items that were declared done
    Atom<std::uint64_t> size;         // derived: ready items
    Atom<std::uint64_t> bytes;        // derived: their weight
    Atom<std::uint64_t> leased;       // derived
    Atom<std::uint64_t> taken;        // derived: items that were ever handed out
    Atom<std::uint64_t> redelivered;  // deliveries beyond the first
    Atom<std::int64_t> inspected_at;  // when the leases' holders were last looked at

    alignas(64) ring::Bell<World> getters;
    ring::Bell<World> putters;
    ring::Bell<World> joiners;
    char label[56];
};

}  // namespace treadle::ordered
