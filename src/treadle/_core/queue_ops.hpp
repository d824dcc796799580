// queue_ops.hpp: what a shared queue does, and the messages (items too large for its ring) that pass through it.
//
// Every function holds the interpreter on entry and return. An `int` result is a word::Result, kTimeout, or kInterrupted.
#pragma once

#include <cstdint>

#include "await.hpp"
#include "objects.hpp"
#include "treadle/ring/queue.hpp"

namespace treadle::core {

using RingQueue = ring::Queue<SharedWorld, Mapping>;
using RingState = RingQueue::State;
using Taken = RingQueue::Taken;
using ring::Frame;
using ring::LeaseName;
using RingMessage = ring::Message<SharedWorld>;

inline constexpr std::uint32_t kLargestFrame = ring::kLargestFrame;
inline constexpr std::uint32_t kLargestFrameBytes = ring::frame_bytes(ring::kLargestFrame);
inline constexpr std::uint32_t kNoSlot = RingQueue::kNoSlot;
inline constexpr std::uint32_t kQueueLabel = 56;

inline RingState* state_of(const Handle& h) noexcept { return reinterpret_cast<RingState*>(h.block); }
inline RingQueue ring_of(const Handle& h) noexcept { return RingQueue(state_of(h), *h.mapping); }
inline Mapping::Caller caller(const Handle& h, Token token) noexcept { return Mapping::Caller{token, false, h.mapping}; }

inline bool make_queue(Mapping* m, Token token, std::uint64_t max_items, std::uint64_t max_bytes, const char* label, Handle& h) noexcept {
    return make_block(m, token, h, [&]() -> SharedBlock* {
        RingState* state = RingQueue::make(*m, max_items, max_bytes);
        if (state == nullptr) return nullptr;
        copy_label(state->label, sizeof state->label, label);
        return &state->block;
    });
}

// Memory is short only when what the dead had is free and it is short still.
template <class Operation>
int with_memory_of_the_dead(const Handle& h, Operation operation) noexcept {
    const int result = operation();
    return result == static_cast<int>(Result::no_memory) && sweep_released(h.mapping) != 0 ? operation() : result;
}

inline int queue_put(const Handle& h, Token token, const char* frames, std::uint32_t count, std::int64_t timeout, Taken* accepted) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) { return ring_of(h).attempt_put(who, frames, count, *accepted, wait); },
            Result::full, timeout, h.mapping, place_of(h));
    });
}
inline int queue_get(const Handle& h, Token token, std::uint32_t max_items, char* out, std::uint32_t room, std::int64_t timeout,
                     Taken* got) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) { return ring_of(h).attempt_get(who, max_items, out, room, *got, wait); },
            Result::empty, timeout, h.mapping, place_of(h));
    });
}
inline int queue_lease(const Handle& h, Token token, char* out, std::int64_t timeout, LeaseName* lease, Taken* got) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) { return ring_of(h).attempt_lease(who, out, *lease, *got, wait); },
            Result::empty, timeout, h.mapping, place_of(h));
    });
}
// One attempt each, for a task.
inline int queue_put_attempt(const Handle& h, Token token, bool look, const char* frames, std::uint32_t count, Taken* accepted,
                             Wait* wait) noexcept {
    return with_memory_of_the_dead(h, [&] {
        Mapping::Caller who{token, look, h.mapping};
        return static_cast<int>(ring_of(h).attempt_put(who, frames, count, *accepted, *wait));
    });
}
inline int queue_get_attempt(const Handle& h, Token token, bool look, std::uint32_t max_items, char* out, std::uint32_t room,
                             Taken* got, Wait* wait) noexcept {
    return with_memory_of_the_dead(h, [&] {
        Mapping::Caller who{token, look, h.mapping};
        return static_cast<int>(ring_of(h).attempt_get(who, max_items, out, room, *got, *wait));
    });
}
inline int queue_lease_attempt(const Handle& h, Token token, bool look, char* out, LeaseName* lease, Taken* got, Wait* wait) noexcept {
    return with_memory_of_the_dead(h, [&] {
        Mapping::Caller who{token, look, h.mapping};
        return static_cast<int>(ring_of(h).attempt_lease(who, out, *lease, *got, *wait));
    });
}
inline int queue_join_attempt(const Handle& h, Token token, bool look, Wait* wait) noexcept {
    Mapping::Caller who{token, look, h.mapping};
    return static_cast<int>(ring_of(h).attempt_join(who, *wait));
}
inline int queue_ack(const Handle& h, Token token, const LeaseName& lease) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ring_of(h).attempt_ack(who, lease, wait); }));
}
inline int queue_nack(const Handle& h, Token token, const LeaseName& lease) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ring_of(h).attempt_nack(who, lease, wait); }));
}
inline int queue_done(const Handle& h, Token token, std::uint64_t count) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ring_of(h).attempt_done(who, count, wait); }));
}
inline int queue_join(const Handle& h, Token token, std::int64_t timeout) noexcept {
    return await<SharedWorld>(
        caller(h, token), [&](auto& who, Wait& wait) { return ring_of(h).attempt_join(who, wait); }, Result::empty, timeout,
        h.mapping, place_of(h));
}
inline void queue_shut_down(const Handle& h, bool now) noexcept {
    const ring::QueueMode mode = now ? ring::QueueMode::shut_now : ring::QueueMode::shut;
    briefly(h.mapping, h.mapping->caller_token(),
            [&](auto& who, Wait& wait) { return ring_of(h).attempt_shut_down(who, mode, wait); });
}
inline int queue_discard(const Handle& h, Token token, char* out, Taken* got) noexcept {
    return static_cast<int>(
        briefly(h.mapping, token, [&](auto& who, Wait& wait) { return ring_of(h).attempt_discard(who, out, *got, wait); }));
}

inline const char* queue_label(const Handle& h) noexcept { return state_of(h)->label; }
inline std::uint64_t queue_size(const Handle& h) noexcept { return ring_of(h).size(); }
inline bool queue_full(const Handle& h) noexcept {
    const RingState* state = state_of(h);
    return (state->max_items != 0 && ring_of(h).size() >= state->max_items) ||
           (state->max_bytes != 0 && ring_of(h).bytes() >= state->max_bytes);
}
struct QueueFigures {
    std::uint64_t size, bytes, puts, taken, unfinished, redelivered, max_items, max_bytes;
    std::uint32_t leased;
    bool shut;
};
inline void queue_figures(const Handle& h, QueueFigures& f) noexcept {
    const RingState* state = state_of(h);
    const RingQueue queue = ring_of(h);
    f.taken = queue.taken();
    f = QueueFigures{queue.size(), queue.bytes(), queue.puts(), f.taken, queue.unfinished(),
                     state->redelivered.load(std::memory_order_relaxed), state->max_items, state->max_bytes,
                     state->leased.load(std::memory_order_relaxed), queue.mode() != ring::QueueMode::open};
}

// Messages. A new one is referred to by this process (`slot`) and belongs to nobody yet; once put, the queue owns it.
struct MessageHold {
    RingMessage* message;
    std::uint32_t slot;
};
inline bool make_message(Mapping* m, Token token, std::uint64_t bytes, MessageHold* hold) noexcept {
    if (bytes > arena::kCapacity - sizeof(RingMessage)) return false;
    Handle h{};
    if (!make_block(m, token, h, [&] { return m->arena.heap.allocate(sizeof(RingMessage) + bytes, Kind::message); })) return false;
    *hold = MessageHold{reinterpret_cast<RingMessage*>(h.block), h.slot};
    return true;
}
inline char* message_data(const MessageHold& hold) noexcept { return hold.message->data(); }

inline void write_message_frame(Mapping* m, const MessageHold& hold, std::uint64_t bytes, std::uint32_t tag, char* out) noexcept {
    const Frame frame{sizeof(ring::MessagePayload), ring::FrameKind::message, 0, m->system.pid, tag};
    const ring::MessagePayload payload{m->arena.heap.ref_to(&hold.message->block), bytes};
    std::memcpy(out, &frame, sizeof frame);
    std::memcpy(out + sizeof frame, &payload, sizeof payload);
}
inline constexpr std::uint32_t kMessageFrameBytes = ring::frame_bytes(sizeof(ring::MessagePayload));

inline void write_frame_header(Mapping* m, std::uint32_t size, std::uint32_t tag, char* out) noexcept {
    const Frame frame{size, ring::FrameKind::bytes, 0, m->system.pid, tag};
    std::memcpy(out, &frame, sizeof frame);
}
inline bool frame_is_message(const char* frame) noexcept {
    return reinterpret_cast<const Frame*>(frame)->kind == ring::FrameKind::message;
}
// The message of a frame that was taken: this process refers to it by the slot that came with it.
inline void read_message_frame(Mapping* m, const char* frame, std::uint32_t slot, MessageHold* hold, std::uint64_t* bytes) noexcept {
    ring::MessagePayload payload;
    std::memcpy(&payload, frame + sizeof(Frame), sizeof payload);
    *hold = MessageHold{reinterpret_cast<RingMessage*>(m->arena.heap.block_at(arena::offset_of(payload.message))), slot};
    *bytes = payload.bytes;
}
inline const Frame* frame_at(const char* frame) noexcept { return reinterpret_cast<const Frame*>(frame); }

}  // namespace treadle::core
