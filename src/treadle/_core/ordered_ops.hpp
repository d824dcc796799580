// ordered_ops.hpp: what a shared priority queue or stack does. (Frames and messages: queue_ops.hpp.)
//
// Every function holds the interpreter on entry and return. An `int` result is a word::Result, kTimeout, or kInterrupted.
#pragma once

#include <cstdint>

#include "queue_ops.hpp"
#include "treadle/ordered/queue.hpp"

namespace treadle::core {

using Ordered = ordered::OrderedQueue<SharedWorld, Mapping>;
using OrderedState = Ordered::State;

inline constexpr std::uint32_t kRecordHeader = sizeof(ordered::Record);
inline constexpr std::uint32_t kShortKey = 256;  // bytes; a record with no longer one is written on the stack
inline constexpr std::uint32_t kShortRecordWords = (kRecordHeader + kShortKey + kLargestFrameBytes) / 8;

inline OrderedState* ordered_state_of(const Handle& h) noexcept { return reinterpret_cast<OrderedState*>(h.block); }
inline Ordered ordered_of(const Handle& h) noexcept { return Ordered(ordered_state_of(h), *h.mapping); }

inline bool make_ordered(Mapping* m, Token token, bool by_key, std::uint64_t max_items, std::uint64_t max_bytes, const char* label,
                         Handle& h) noexcept {
    return make_block(m, token, h, [&]() -> SharedBlock* {
        OrderedState* state = Ordered::make(*m, by_key ? ordered::Order::by_key : ordered::Order::newest_first, max_items, max_bytes);
        if (state == nullptr) return nullptr;
        copy_label(state->label, sizeof state->label, label);
        return &state->block;
    });
}

// The key of `key_bytes` lies behind the header already; fills up to where the frame goes, and returns how far that is.
inline std::uint64_t write_record_header(char* record, std::uint32_t key_bytes) noexcept {
    const ordered::Record header{key_bytes, 0};
    std::memcpy(record, &header, sizeof header);
    std::memset(record + kRecordHeader + key_bytes, 0, ring::padded(key_bytes) - key_bytes);
    return kRecordHeader + ring::padded(key_bytes);
}

inline int ordered_put(const Handle& h, Token token, const char* records, std::uint32_t count, std::int64_t timeout, Taken* accepted) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) { return ordered_of(h).attempt_put(who, records, count, *accepted, wait); },
            Result::full, timeout, h.mapping, place_of(h));
    });
}
inline int ordered_get(const Handle& h, Token token, std::uint32_t max_items, char* out, std::uint32_t room, std::int64_t timeout,
                       Taken* got) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) { return ordered_of(h).attempt_get(who, max_items, out, room, *got, wait); },
            Result::empty, timeout, h.mapping, place_of(h));
    });
}
inline int ordered_lease(const Handle& h, Token token, char* out, std::int64_t timeout, LeaseName* lease, Taken* got) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) { return ordered_of(h).attempt_lease(who, out, *lease, *got, wait); },
            Result::empty, timeout, h.mapping, place_of(h));
    });
}
// One attempt each, for a task.
inline int ordered_put_attempt(const Handle& h, Token token, bool look, const char* records, std::uint32_t count, Taken* accepted,
                             Wait* wait) noexcept {
    return with_memory_of_the_dead(h, [&] {
        Mapping::Caller who{token, look, h.mapping};
        return static_cast<int>(ordered_of(h).attempt_put(who, records, count, *accepted, *wait));
    });
}
inline int ordered_get_attempt(const Handle& h, Token token, bool look, std::uint32_t max_items, char* out, std::uint32_t room,
                             Taken* got, Wait* wait) noexcept {
    return with_memory_of_the_dead(h, [&] {
        Mapping::Caller who{token, look, h.mapping};
        return static_cast<int>(ordered_of(h).attempt_get(who, max_items, out, room, *got, *wait));
    });
}
inline int ordered_lease_attempt(const Handle& h, Token token, bool look, char* out, LeaseName* lease, Taken* got, Wait* wait) noexcept {
    return with_memory_of_the_dead(h, [&] {
        Mapping::Caller who{token, look, h.mapping};
        return static_cast<int>(ordered_of(h).attempt_lease(who, out, *lease, *got, *wait));
    });
}
inline int ordered_join_attempt(const Handle& h, Token token, bool look, Wait* wait) noexcept {
    Mapping::Caller who{token, look, h.mapping};
    return static_cast<int>(ordered_of(h).attempt_join(who, *wait));
}
inline int ordered_ack(const Handle& h, Token token, const LeaseName& lease) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ordered_of(h).attempt_ack(who, lease, wait); }));
}
inline int ordered_nack(const Handle& h, Token token, const LeaseName& lease) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ordered_of(h).attempt_nack(who, lease, wait); }));
}
inline int ordered_done(const Handle& h, Token token, std::uint64_t count) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ordered_of(h).attempt_done(who, count, wait); }));
}
inline int ordered_join(const Handle& h, Token token, std::int64_t timeout) noexcept {
    return await<SharedWorld>(
        caller(h, token), [&](auto& who, Wait& wait) { return ordered_of(h).attempt_join(who, wait); }, Result::empty, timeout,
        h.mapping, place_of(h));
}
inline void ordered_shut_down(const Handle& h, bool now) noexcept {
    const ring::QueueMode mode = now ? ring::QueueMode::shut_now : ring::QueueMode::shut;
    briefly(h.mapping, h.mapping->caller_token(),
            [&](auto& who, Wait& wait) { return ordered_of(h).attempt_shut_down(who, mode, wait); });
}
inline int ordered_discard(const Handle& h, Token token) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ordered_of(h).attempt_discard(who, wait); }));
}

inline const char* ordered_label(const Handle& h) noexcept { return ordered_state_of(h)->label; }
// The queue, whose counts nobody who died has left wrong.
inline Ordered ordered_counted(const Handle& h) noexcept {
    briefly(h.mapping, h.mapping->caller_token(), [&](auto& who, Wait& wait) { return ordered_of(h).attempt_mend(who, wait); });
    return ordered_of(h);
}
inline std::uint64_t ordered_size(const Handle& h) noexcept { return ordered_counted(h).size(); }
inline bool ordered_full(const Handle& h) noexcept {
    const OrderedState* state = ordered_state_of(h);
    const Ordered queue = ordered_counted(h);
    return (state->max_items != 0 && queue.size() >= state->max_items) ||
           (state->max_bytes != 0 && queue.bytes() >= state->max_bytes);
}
inline void ordered_figures(const Handle& h, QueueFigures& f) noexcept {
    const OrderedState* state = ordered_state_of(h);
    const Ordered queue = ordered_counted(h);
    f = QueueFigures{queue.size(), queue.bytes(), queue.puts(), queue.taken(), queue.unfinished(),
                     state->redelivered.load(std::memory_order_relaxed), state->max_items, state->max_bytes,
                     static_cast<std::uint32_t>(queue.leased()), queue.mode() != ring::QueueMode::open};
}

// Are objects of this type compared as those of `base` are? A subclass may have put an order of its own in its place.
inline bool compares_as(PyObject* object, PyObject* base) noexcept {
    return Py_TYPE(object)->tp_richcompare == reinterpret_cast<PyTypeObject*>(base)->tp_richcompare;
}

}  // namespace treadle::core
