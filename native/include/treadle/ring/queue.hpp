// ring/queue.hpp: a by-value queue of byte frames between processes.
//
// Promise: many producers and consumers, in order; robust: a put or a get happens entirely or not at all, and a death at
// any instruction costs nobody else more than the look that finds it. Producers exclude each other, and so do consumers,
// each in a short internal section at their end (the two-lock queue of Michael and Scott, PODC 1996, over a chain of
// chunks instead of nodes); the ends meet only in each other's version word, which each reads as rarely as it can.
// Linearizable at the version stores. A dead section owner is found by the next one to enter it.
//
//   version of an end: items that passed it << 1 | which of its two cursors is valid.   One store moves the end.
//
//   step of put                              death here
//   enter the tail section                   nothing
//   dirty = 1   (only if blocks are made)    nothing to collect yet
//   new chunk made and filled in             nobody's: the arena's rebuild() frees it
//   chunk or message given to the queue      collect(): order or birth beyond what was published: freed
//   bytes written, the idle cursor set       overwritten by the next put
//   tail.version   (publish)                 the item is in the queue
//   dirty = 0, leave, ring                   parks are bounded
//
//   step of get                              death here
//   enter the head section, copy out         nothing
//   (dirty = 1, a reference to the message)  the reference goes with the sweep of its process
//   head.version   (publish)                 the item is gone
//   chunk passed: freed, message: disowned   collect(): order or birth before what was taken: freed
//
// Counts are what the versions say: puts = tail.version >> 1, taken = head.version >> 1, so qsize is never a guess.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "collect.hpp"
#include "layout.hpp"
#include "leases.hpp"

namespace treadle::ring {

using word::Result;
using word::Wait;

// `Member` is this process in the arena: arena, handles, process (arena/mapping.hpp).
template <class World, class Member>
class Queue {
public:
    using State = QueueState<World>;
    using ChunkT = Chunk<World>;
    using MessageT = Message<World>;
    using EndT = End<World>;
    using Taken = ring::Taken;
    static constexpr std::uint32_t kNoSlot = ring::kNoSlot;

    Queue(State* state, Member& member) noexcept : q(state), m(member) {}

    // Makes a queue, inside the arena's section. Null: the limit.
    static State* make(Member& member, std::uint64_t max_items, std::uint64_t max_bytes) noexcept {
        auto& heap = member.arena.heap;
        auto* state = reinterpret_cast<State*>(heap.allocate(sizeof(State), arena::Kind::queue));
        if (state == nullptr) return nullptr;
        std::memset(static_cast<void*>(&state->block + 1), 0, sizeof(State) - sizeof state->block);
        auto* first = reinterpret_cast<ChunkT*>(heap.allocate(kFirstChunk, arena::Kind::chunk, &state->block));
        if (first == nullptr) {
            heap.free(&state->block);
            return nullptr;
        }
        first->order = 0;
        first->next = 0;
        state->max_items = max_items;
        state->max_bytes = max_bytes;
        state->tail.cursors[0].chunk = state->head.cursors[0].chunk = heap.offset_of_block(first);
        return state;
    }

    std::uint64_t puts() const noexcept { return q->tail.version.load(std::memory_order_seq_cst) >> 1; }
    std::uint64_t taken() const noexcept { return q->head.version.load(std::memory_order_seq_cst) >> 1; }
    std::uint64_t ready() const noexcept { return q->ready.load(std::memory_order_seq_cst); }
    std::uint64_t size() const noexcept {
        // What moves from the ring to the ready ones (a lease given back) is counted once, and a queue that was never empty
        // never looks so: `taken` and `ready` stood still while `puts` was read.
        for (;;) {
            const std::uint64_t gone = taken(), back = ready(), put = puts();
            if (ready() == back && taken() == gone) return put - gone + back;
        }
    }
    std::uint64_t unfinished() const noexcept {
        const std::uint64_t done = q->done.load(std::memory_order_seq_cst);  // a joiner's second look (bells, below)
        return puts() - done;
    }
    // Bytes in the queue, frame headers included.
    std::uint64_t bytes() const noexcept {
        for (;;) {
            const std::uint64_t gone = passed_bytes(q->head), put = passed_bytes(q->tail);
            if (passed_bytes(q->head) == gone) return put - gone;  // as in size()
        }
    }
    QueueMode mode() const noexcept { return static_cast<QueueMode>(q->mode.load(std::memory_order_seq_cst)); }

    // Puts frames from the front of `count` frames that lie end to end at `frames`: at least one, as many as fit now. A
    // message must be alone, a block that this process refers to and that has no owner. done (see `accepted`), blocked,
    // full, shut, or no_memory.
    template <class Who>
    Result attempt_put(Who& who, const char* frames, std::uint32_t count, Taken& accepted, Wait& wait) noexcept {
        accepted = Taken{};
        for (;;) {
            if (enter(q->tail, who, wait) == Result::blocked) return Result::blocked;
            if (mode() != QueueMode::open) {
                q->tail.mutex.release();
                return Result::shut;
            }
            const std::uint64_t version = q->tail.version.load(std::memory_order_relaxed);
            const Cursor<World>& at = q->tail.cursors[version & 1];
            const std::uint32_t allowed = allowance(version >> 1, at.bytes.load(std::memory_order_relaxed), frames, count);
            if (allowed == 0) {
                q->tail.mutex.release();
                const std::uint32_t bell = q->putters.announce(wait);
                if (wait.announce && has_room(frames)) continue;
                return wait.at_gate(q->putters.futex(), bell, Result::full);
            }
            const Result result = put_at(who, version, frames, allowed, accepted, wait);
            if (result != Result::done) return result;
            if (wait.slept_at_gate && bounded()) {
                q->putters.announce_others();
                if (has_room(frames)) q->putters.wake(1);
            }
            q->getters.ring(accepted.items);
            return Result::done;
        }
    }

    // Takes up to `max_items` items that lie end to end in `out` afterwards, or one message. `room` is at least
    // frame_bytes(kLargestFrame). done, blocked, empty, shut, or no_memory (for the reference to a message).
    template <class Who>
    Result attempt_get(Who& who, std::uint32_t max_items, char* out, std::uint32_t room, Taken& got, Wait& wait) noexcept {
        got = Taken{};
        Result result = await_item(who, wait);
        if (result != Result::done) return result;
        const bool again = ready() != 0;
        if (again) result = leases().take_ready(who, out, got, wait);
        else result = take_at(who, max_items, out, room, got, wait);
        result = served(result, got.items, wait);
        if (again && mode() != QueueMode::open) q->getters.ring_for_all();  // perhaps there is nothing left to wait for
        return result;
    }

    // Takes one item out on lease: its frame is copied to `out` and stays in `lease` until ack, nack or this process's end.
    template <class Who>
    Result attempt_lease(Who& who, char* out, LeaseName& lease, Taken& got, Wait& wait) noexcept {
        got = Taken{};
        Result result = await_item(who, wait);
        if (result != Result::done) return result;
        if (ready() != 0) result = leases().lease_ready(who, out, lease, got, wait);
        else result = lease_at(who, out, lease, got, wait);
        return served(result, got.items, wait);
    }

    // The leased item is done with: it is gone, and counts as done. done, blocked, or gone.
    template <class Who>
    Result attempt_ack(Who& who, LeaseName lease, Wait& wait) noexcept {
        if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
        const Result result = leases().ack(who, lease, wait);
        q->head.mutex.release();
        if (result == Result::done) settled();
        return result;
    }

    // Gives the leased item back: it is delivered again, before newer ones. done, blocked, or gone.
    template <class Who>
    Result attempt_nack(Who& who, LeaseName lease, Wait& wait) noexcept {
        if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
        const Result result = leases().nack(who, lease);
        q->head.mutex.release();
        if (result == Result::done) q->getters.ring(1);
        return result;
    }

    // `count` items are done with. overflow: more than were put, or than are not out on lease: those are done with when they
    // are acknowledged.
    template <class Who>
    Result attempt_done(Who& who, std::uint64_t count, Wait& wait) noexcept {
        if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
        const std::uint64_t done = q->done.load(std::memory_order_relaxed);
        const bool due = count + q->leased.load(std::memory_order_relaxed) <= puts() - done;
        if (due) q->done.store(done + count, std::memory_order_seq_cst);
        q->head.mutex.release();
        if (!due) return Result::overflow;
        settled();
        return Result::done;
    }

    // Until every item put is done with, or the queue was shut down at once. done or blocked.
    template <class Who>
    Result attempt_join(Who& who, Wait& wait) noexcept {
        for (;;) {
            if (unfinished() == 0 || mode() == QueueMode::shut_now) return Result::done;
            if (who.look && inspect_leases(who, wait) == Result::blocked) return Result::blocked;
            const std::uint32_t bell = q->joiners.announce(wait);
            if (wait.announce && (unfinished() == 0 || mode() == QueueMode::shut_now)) continue;
            return wait.at_gate(q->joiners.futex(), bell, Result::empty);
        }
    }

    // done or blocked. It never becomes milder. Inside both sections (no other step is), so that no put or get that is under
    // way comes after it.
    template <class Who>
    Result attempt_shut_down(Who& who, QueueMode mode, Wait& wait) noexcept {
        if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
        if (enter(q->tail, who, wait) == Result::blocked) {
            q->head.mutex.release();
            return Result::blocked;
        }
        if (this->mode() < mode) q->mode.store(static_cast<std::uint32_t>(mode), std::memory_order_seq_cst);  // publish
        q->tail.mutex.release();
        q->head.mutex.release();
        q->getters.ring_for_all();
        q->putters.ring_for_all();
        q->joiners.ring_for_all();
        return Result::done;
    }

    // After shut_now: throws one item away, and counts it as done. done, blocked, or empty.
    template <class Who>
    Result attempt_discard(Who& who, char* out, Taken& got, Wait& wait) noexcept {
        got = Taken{};
        if (size() == 0) return Result::empty;
        if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
        Result result = size() == 0    ? Result::empty  // a get was under way
                        : ready() != 0 ? leases().take_ready(who, out, got, wait)
                                       : take_at(who, 1, out, frame_bytes(kLargestFrame), got, wait);
        if (result == Result::done) {
            const std::uint64_t done = q->done.load(std::memory_order_relaxed);
            if (done < puts()) q->done.store(done + 1, std::memory_order_seq_cst);
        }
        q->head.mutex.release();
        if (result == Result::done) settled();
        return result;
    }

    // Looks whether the holders of leases still live; the items of the dead are ready again. done or blocked.
    template <class Who>
    Result inspect_leases(Who& who, Wait& wait) noexcept {
        if (q->leased.load(std::memory_order_relaxed) == 0) return Result::done;
        if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t found = leases().inspect(who);
        q->head.mutex.release();
        if (found != 0) q->getters.ring(found);
        return Result::done;
    }

private:
    static constexpr std::int64_t kInspectEvery = 100'000'000;

    bool bounded() const noexcept { return (q->max_items | q->max_bytes) != 0; }
    ChunkT* chunk_at(Offset at) const noexcept { return reinterpret_cast<ChunkT*>(m.arena.heap.block_at(at)); }
    Leases<World, Member> leases() noexcept { return Leases<World, Member>(q, m); }

    static std::uint64_t passed_bytes(const EndT& end) noexcept {
        for (;;) {
            const std::uint64_t version = end.version.load(std::memory_order_acquire);
            const std::uint64_t bytes = end.cursors[version & 1].bytes.load(std::memory_order_acquire);  // SYNC bytes→passed_bytes
            if (end.version.load(std::memory_order_relaxed) == version) return bytes;
        }
    }

    // Sections.
    template <class Who>
    Result enter(EndT& end, Who& who, Wait& wait) noexcept {
        if (end.mutex.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        if (end.dirty != 0) [[unlikely]] {
            if (m.arena.enter(who, wait) == Result::blocked) {
                end.mutex.release();
                return Result::blocked;
            }
            collect(q, m, &end == &q->tail ? Side::tail : Side::head);
            end.set_dirty(0);
            m.arena.leave();
        }
        return Result::done;
    }
    // Inside a section: the arena's as well, for a step that touches blocks. Leaves the section if that is taken.
    template <class Who>
    Result enter_arena(EndT& end, Who& who, Wait& wait) noexcept {
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        end.set_dirty(1);
        return Result::done;
    }
    void leave_arena(EndT& end) noexcept {
        end.set_dirty(0);
        m.arena.leave();
    }
    static void publish(EndT& end, std::uint64_t version, std::uint32_t items, Offset chunk, std::uint32_t position,
                        std::uint64_t bytes) noexcept {
        Cursor<World>& next = end.cursors[(version & 1) ^ 1];
        next.chunk = chunk;
        next.position = position;
        // SYNC bytes→passed_bytes: who reads the bytes of this step finds the version of the one before gone.
        next.bytes.store(bytes, std::memory_order_release);
        end.version.store((((version >> 1) + items) << 1) | ((version & 1) ^ 1),
                          std::memory_order_seq_cst);  // publish; SYNC put→get: the frames; get→put: the room
    }

    // How many of the frames the bounds let in, now that `puts` items and `put_bytes` bytes have been put.
    std::uint32_t allowance(std::uint64_t puts, std::uint64_t put_bytes, const char* frames, std::uint32_t count) noexcept {
        if (!bounded()) return count;
        if (q->max_items != 0) {
            const std::uint64_t waiting = ready();
            std::uint64_t inside = puts - (q->tail.seen >> 1) + waiting;
            if (inside + count > q->max_items) {
                q->tail.seen = q->head.version.load(std::memory_order_seq_cst);
                inside = puts - (q->tail.seen >> 1) + waiting;
            }
            if (inside >= q->max_items) return 0;
            if (count > q->max_items - inside) count = static_cast<std::uint32_t>(q->max_items - inside);
        }
        if (q->max_bytes != 0) {
            std::uint64_t inside = put_bytes - passed_bytes(q->head);
            std::uint32_t fit = 0;
            for (; fit < count; ++fit) {
                const std::uint64_t size = weight(reinterpret_cast<const Frame*>(frames));
                // An item larger than the bound is let in alone: else it could never pass.
                if (inside != 0 && inside + size > q->max_bytes) break;
                inside += size;
                frames += frame_bytes(reinterpret_cast<const Frame*>(frames)->size);
            }
            return fit;
        }
        return count;
    }
    static std::uint64_t weight(const Frame* frame) noexcept {
        if (frame->kind != FrameKind::message) return frame_bytes(frame->size);
        MessagePayload payload;
        std::memcpy(&payload, frame + 1, sizeof payload);
        return payload.bytes;
    }
    bool has_room(const char* frame) noexcept {
        if (mode() != QueueMode::open) return true;
        const std::uint64_t inside = bytes();
        return (q->max_items == 0 || size() < q->max_items) &&
               (q->max_bytes == 0 || inside == 0 || inside + weight(reinterpret_cast<const Frame*>(frame)) <= q->max_bytes);
    }

    template <class Who>
    Result put_at(Who& who, std::uint64_t version, const char* frames, std::uint32_t count, Taken& accepted, Wait& wait) noexcept {
        const Cursor<World>& at = q->tail.cursors[version & 1];
        const Frame* first = reinterpret_cast<const Frame*>(frames);
        ChunkT* chunk = chunk_at(at.chunk);
        std::uint32_t position = at.position;
        const bool crossing = position + frame_bytes(first->size) + sizeof(Frame) > chunk->room();
        const bool is_message = first->kind == FrameKind::message;
        const bool touches_blocks = crossing || is_message;
        if (touches_blocks && enter_arena(q->tail, who, wait) == Result::blocked) {
            q->tail.mutex.release();
            return Result::blocked;
        }
        if (crossing) {
            ChunkT* next = reinterpret_cast<ChunkT*>(m.arena.heap.allocate(kChunk, arena::Kind::chunk));
            if (next == nullptr) {
                leave_arena(q->tail);
                q->tail.mutex.release();
                return Result::no_memory;
            }
            next->order = chunk->order + 1;  // by which collect() judges what belongs to the queue
            next->next = 0;
            std::atomic_signal_fence(std::memory_order_seq_cst);
            m.arena.heap.set_owner(&next->block, &q->block);
            const Frame jump{0, FrameKind::jump, 0, 0, 0};
            std::memcpy(chunk->data() + position, &jump, sizeof jump);
            chunk->next = m.arena.heap.offset_of_block(next);
            chunk = next;
            position = 0;
        }
        std::uint32_t bytes = 0, items = 0;
        std::uint64_t passed = at.bytes.load(std::memory_order_relaxed);
        if (is_message) {
            MessagePayload payload;
            std::memcpy(&payload, first + 1, sizeof payload);
            auto* message = reinterpret_cast<MessageT*>(m.arena.heap.resolve(payload.message));
            message->birth = version >> 1;
            std::atomic_signal_fence(std::memory_order_seq_cst);
            m.arena.heap.set_owner(&message->block, &q->block);
            bytes = frame_bytes(first->size);
            items = 1;
            passed += payload.bytes;
        } else {
            for (const Frame* f = first; items < count && f->kind == FrameKind::bytes; ++items) {
                const std::uint32_t size = frame_bytes(f->size);
                if (position + bytes + size + sizeof(Frame) > chunk->room()) break;
                bytes += size;
                f = reinterpret_cast<const Frame*>(frames + bytes);
            }
            passed += bytes;
        }
        std::memcpy(chunk->data() + position, frames, bytes);
        publish(q->tail, version, items, m.arena.heap.offset_of_block(chunk), position + bytes, passed);
        if (touches_blocks) leave_arena(q->tail);
        q->tail.mutex.release();
        accepted.items = items;
        accepted.bytes = bytes;
        return Result::done;
    }

    // Enters the head section with an item to take. done, blocked, empty or shut.
    template <class Who>
    Result await_item(Who& who, Wait& wait) noexcept {
        if (q->leased.load(std::memory_order_relaxed) != 0 && inspection_due(who.look) &&
            inspect_leases(who, wait) == Result::blocked)
            return Result::blocked;
        for (;;) {
            const QueueMode now = mode();
            if (now == QueueMode::shut_now) return Result::shut;
            if (size() != 0) {
                if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
                const bool shut = mode() == QueueMode::shut_now;
                if (!shut && size() != 0) return Result::done;
                q->head.mutex.release();
                if (shut) return Result::shut;
                continue;
            }
            const std::uint32_t bell = q->getters.announce(wait);
            if (wait.announce && (size() != 0 || mode() != now)) continue;
            if (now == QueueMode::shut) {
                // Nothing can come any more but what others still hold on lease.
                if (enter(q->head, who, wait) == Result::blocked) return Result::blocked;
                const bool awaited = leases().awaited(who);
                q->head.mutex.release();
                if (size() != 0) continue;
                if (!awaited) return Result::shut;
            }
            return wait.at_gate(q->getters.futex(), bell, Result::empty);
        }
    }
    // At the latest every kInspectEvery while items are out on lease, however busy the queue is.
    bool inspection_due(bool look) noexcept {
        const std::int64_t now = World::now_coarse();
        const std::int64_t last = q->inspected_at.load(std::memory_order_relaxed);
        if (!look && now - last < kInspectEvery) return false;
        q->inspected_at.store(now, std::memory_order_relaxed);
        return true;
    }

    // After a get or lease: leaves the head section and tells who waits for what came of it.
    Result served(Result result, std::uint32_t items, Wait& wait) noexcept {
        q->head.mutex.release();
        if (result != Result::done) return result;
        if (bounded()) q->putters.ring(items);
        if (wait.slept_at_gate) {
            q->getters.announce_others();
            if (size() != 0) q->getters.wake(1);
        }
        return Result::done;
    }

    // Where the next item's frame lies; `crossing`: in the next chunk.
    Frame* front(const Cursor<World>& at, ChunkT*& chunk, std::uint32_t& position, bool& crossing) noexcept {
        chunk = chunk_at(at.chunk);
        position = at.position;
        Frame* frame = reinterpret_cast<Frame*>(chunk->data() + position);
        crossing = frame->kind == FrameKind::jump;
        if (!crossing) return frame;
        chunk = chunk_at(chunk->next);
        position = 0;
        return reinterpret_cast<Frame*>(chunk->data());
    }

    template <class Who>
    Result take_at(Who& who, std::uint32_t max_items, char* out, std::uint32_t room, Taken& got, Wait& wait) noexcept {
        EndT& head = q->head;
        const std::uint64_t version = head.version.load(std::memory_order_relaxed);
        const Cursor<World>& at = head.cursors[version & 1];
        if ((head.seen >> 1) <= (version >> 1)) head.seen = q->tail.version.load(std::memory_order_seq_cst);  // <: leases do not look
        const std::uint64_t available = (head.seen >> 1) - (version >> 1);
        if (available < max_items) {
            if (available == 0) return Result::blocked;  // not reached: await_item saw an item, and nobody else takes one
            max_items = static_cast<std::uint32_t>(available);
        }
        ChunkT* chunk;
        std::uint32_t position;
        bool crossing;
        Frame* frame = front(at, chunk, position, crossing);
        const bool is_message = frame->kind == FrameKind::message;
        const bool touches_blocks = crossing || is_message;
        if (touches_blocks && enter_arena(head, who, wait) == Result::blocked) return Result::blocked;
        std::uint64_t passed = at.bytes.load(std::memory_order_relaxed);
        Block<World>* message = nullptr;
        if (is_message) {
            MessagePayload payload;
            std::memcpy(&payload, frame + 1, sizeof payload);
            message = m.arena.heap.resolve(payload.message);
            got.slot = m.handles.add(m.arena, m.process, message);
            if (got.slot == kNoSlot) {
                leave_arena(head);
                return Result::no_memory;
            }
            got.bytes = frame_bytes(frame->size);
            got.items = 1;
            passed += payload.bytes;
        } else {
            for (Frame* f = frame; got.items < max_items && f->kind == FrameKind::bytes; ++got.items) {
                const std::uint32_t size = frame_bytes(f->size);
                if (got.bytes + size > room) break;
                got.bytes += size;
                f = reinterpret_cast<Frame*>(chunk->data() + position + got.bytes);
            }
            passed += got.bytes;
        }
        std::memcpy(out, frame, got.bytes);
        const Offset left = at.chunk;
        publish(head, version, got.items, m.arena.heap.offset_of_block(chunk), position + got.bytes, passed);
        if (touches_blocks) {
            if (message != nullptr) m.arena.heap.set_owner(message, nullptr);
            if (crossing) m.arena.heap.free(&chunk_at(left)->block);
            leave_arena(head);
        }
        return Result::done;
    }

    template <class Who>
    Result lease_at(Who& who, char* out, LeaseName& lease, Taken& got, Wait& wait) noexcept {
        EndT& head = q->head;
        const std::uint64_t version = head.version.load(std::memory_order_relaxed);
        const Cursor<World>& at = head.cursors[version & 1];
        ChunkT* chunk;
        std::uint32_t position;
        bool crossing;
        Frame* frame = front(at, chunk, position, crossing);
        if (enter_arena(head, who, wait) == Result::blocked) return Result::blocked;
        const Result made = leases().make(who, frame, version >> 1, lease, got);
        if (made != Result::done) {
            leave_arena(head);
            return made;
        }
        std::memcpy(out, frame, frame_bytes(frame->size));
        got.bytes = frame_bytes(frame->size);
        got.items = 1;
        const Offset left = at.chunk;
        publish(head, version, 1, m.arena.heap.offset_of_block(chunk), position + got.bytes,
                at.bytes.load(std::memory_order_relaxed) + weight(frame));
        if (crossing) m.arena.heap.free(&chunk_at(left)->block);
        leave_arena(head);
        return Result::done;
    }

    void settled() noexcept {
        if (unfinished() == 0) q->joiners.ring(word::kWakeAll);
        if (mode() != QueueMode::open) q->getters.ring_for_all();  // perhaps there is nothing left to wait for
    }

    State* q;
    Member& m;
};

}  // namespace treadle::ring
