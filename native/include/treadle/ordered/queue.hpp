// ordered/queue.hpp: by-value queues between processes that hand out the least item, or the newest, first.
//
// Promise: many producers and consumers; robust: a put or a get happens entirely or not at all, a death at any instruction
// costs nobody else more than the look that finds it, and what was out on lease comes back to its old place. Linearizable.
// One internal section serves both ends, since both change the one order (ring/queue.hpp has two, for there the ends never
// meet). A dead section owner is found by the next one to enter it, and everything derived is then computed anew.
//
// What happens to an item, step by step, and what a death leaves of it, is in items.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "items.hpp"
#include "layout.hpp"

namespace treadle::ordered {

using word::Result;
using word::Wait;

// `Member` is this process in the arena: arena, handles, process (arena/mapping.hpp).
template <class World, class Member>
class OrderedQueue {
public:
    using State = OrderedState<World>;
    using ItemT = Item<World>;
    using TableT = Table<World>;

    OrderedQueue(State* state, Member& member) noexcept : q(state), m(member) {}

    // Makes a queue, inside the arena's section. Null: the limit.
    static State* make(Member& member, Order order, std::uint64_t max_items, std::uint64_t max_bytes) noexcept {
        auto& heap = member.arena.heap;
        const arena::Kind kind = order == Order::by_key ? arena::Kind::priority_queue : arena::Kind::lifo_queue;
        auto* state = reinterpret_cast<State*>(heap.allocate(sizeof(State), kind));
        if (state == nullptr) return nullptr;
        std::memset(static_cast<void*>(&state->block + 1), 0, sizeof(State) - sizeof state->block);
        auto* table = reinterpret_cast<TableT*>(
            heap.allocate(TableT::bytes_for(kFirstCapacity), arena::Kind::table, &state->block));
        if (table == nullptr) {
            heap.free(&state->block);
            return nullptr;
        }
        table->capacity = kFirstCapacity;
        state->table = heap.ref_to(&table->block);
        state->order = order;
        state->max_items = max_items;
        state->max_bytes = max_bytes;
        return state;
    }

    // At some instant, each; behind the truth after a death in the section, until somebody has entered it (attempt_mend).
    std::uint64_t size() const noexcept { return q->size.load(std::memory_order_seq_cst); }
    std::uint64_t bytes() const noexcept { return q->bytes.load(std::memory_order_seq_cst); }
    std::uint64_t leased() const noexcept { return q->leased.load(std::memory_order_seq_cst); }
    std::uint64_t puts() const noexcept { return q->puts.load(std::memory_order_seq_cst); }
    std::uint64_t taken() const noexcept { return q->taken.load(std::memory_order_relaxed); }
    std::uint64_t unfinished() const noexcept {
        const std::uint64_t done = q->done.load(std::memory_order_seq_cst);
        return puts() - done;
    }
    QueueMode mode() const noexcept { return static_cast<QueueMode>(q->mode.load(std::memory_order_seq_cst)); }

    // Puts items from the front of `count` records that lie end to end at `records`: at least one, as many as fit now. A
    // message is a block that this process refers to and that has no owner. done (see `accepted`), blocked, full, shut, or
    // no_memory.
    template <class Who>
    Result attempt_put(Who& who, const char* records, std::uint32_t count, Taken& accepted, Wait& wait) noexcept {
        accepted = Taken{};
        for (;;) {
            if (enter(who, wait) == Result::blocked) return Result::blocked;
            if (mode() != QueueMode::open) {
                q->mutex.release();
                return Result::shut;
            }
            const std::uint32_t allowed = allowance(records, count);
            if (allowed == 0) {
                q->mutex.release();
                const std::uint32_t bell = q->putters.announce(wait);
                if (wait.announce && has_room(records)) continue;  // SYNC count→announce
                return wait.at_gate(q->putters.futex(), bell, Result::full);
            }
            const Result result = put_inside(who, records, allowed, accepted, wait);
            q->mutex.release();
            if (result != Result::done) return result;
            if (wait.slept_at_gate && bounded()) {
                q->putters.announce_others();
                if (has_room(records)) q->putters.wake(1);
            }
            q->getters.ring(accepted.items);
            return Result::done;
        }
    }

    // Takes up to `max_items` items, the first in order, whose frames lie end to end in `out` afterwards; or one message. `room`
    // is at least frame_bytes(kLargestFrame). done, blocked, empty, shut, or no_memory (for the reference to a message).
    template <class Who>
    Result attempt_get(Who& who, std::uint32_t max_items, char* out, std::uint32_t room, Taken& got, Wait& wait) noexcept {
        got = Taken{};
        Result result = await_item(who, wait);
        if (result != Result::done) return result;
        result = take_inside(who, max_items, out, room, got, wait);
        return served(result, got.items, wait);
    }

    // Takes the first item out on lease until ack, nack or this process's end; its frame is copied to `out`.
    template <class Who>
    Result attempt_lease(Who& who, char* out, LeaseName& lease, Taken& got, Wait& wait) noexcept {
        got = Taken{};
        Result result = await_item(who, wait);
        if (result != Result::done) return result;
        result = lease_inside(who, out, lease, got, wait);
        return served(result, got.items, wait);
    }

    // The leased item is done with: it is gone, and counts as done. done, blocked, or gone.
    template <class Who>
    Result attempt_ack(Who& who, LeaseName name, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        Items<World, Member> all = items();
        ItemT* item = all.held(name);
        const Result result = item == nullptr ? Result::gone : m.arena.enter(who, wait);
        if (result == Result::done) {
            all.begin();
            all.ack(item);
            all.shrink();
            all.end();
            m.arena.leave();
        }
        q->mutex.release();
        if (result == Result::done) settled();
        return result;
    }

    // Gives the leased item back to its place. done, blocked, or gone.
    template <class Who>
    Result attempt_nack(Who& who, LeaseName name, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        Items<World, Member> all = items();
        ItemT* item = all.held(name);
        if (item != nullptr) {
            all.begin();
            all.give_back(item);
            all.end();
        }
        q->mutex.release();
        if (item == nullptr) return Result::gone;
        q->getters.ring(1);
        return Result::done;
    }

    // `count` items are done with. overflow: more than were put, or than are not out on lease: those are done with when they
    // are acknowledged.
    template <class Who>
    Result attempt_done(Who& who, std::uint64_t count, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint64_t done = q->done.load(std::memory_order_relaxed);
        const bool due = count + leased() <= puts() - done;
        if (due) q->done.store(done + count, std::memory_order_seq_cst);
        q->mutex.release();
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

    // done or blocked. It never becomes milder.
    template <class Who>
    Result attempt_shut_down(Who& who, QueueMode mode, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        if (this->mode() < mode) q->mode.store(static_cast<std::uint32_t>(mode), std::memory_order_seq_cst);  // publish
        q->mutex.release();
        q->getters.ring_for_all();
        q->putters.ring_for_all();
        q->joiners.ring_for_all();
        return Result::done;
    }

    // After shut_now: throws some items away, and counts them as done. done, blocked, or empty.
    template <class Who>
    Result attempt_discard(Who& who, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        Result result = size() == 0 ? Result::empty : m.arena.enter(who, wait);
        if (result == Result::done) {
            Items<World, Member> all = items();
            all.begin();
            for (std::uint32_t i = 0; i < kMostAtOnce && size() != 0; ++i) all.discard_first();
            all.shrink();
            all.end();
            m.arena.leave();
        }
        q->mutex.release();
        if (result == Result::done) settled();
        return result;
    }

    // Looks whether the holders of leases still live; the items of the dead are ready again. Mends what a death in the section
    // has left, too: who waits for something else than items may be the only one to come by. done or blocked.
    template <class Who>
    Result inspect_leases(Who& who, Wait& wait) noexcept {
        if (leased() == 0 && !in_doubt()) return Result::done;
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t found = items().inspect(who);
        q->mutex.release();
        if (found != 0) q->getters.ring(found);
        return Result::done;
    }

    // Makes good what a death in the section has left, for who reads the counts and would not enter. Who is in the section
    // and lives is not waited for. done or blocked.
    template <class Who>
    Result attempt_mend(Who& who, Wait& wait) noexcept {
        if (!in_doubt() || (q->mutex.held() && who.alive(q->mutex.owner()))) return Result::done;
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        q->mutex.release();
        return Result::done;
    }

private:
    static constexpr std::uint32_t kMostAtOnce = 64;  // items of one stay in the sections
    static constexpr std::int64_t kInspectEvery = 100'000'000;

    Items<World, Member> items() noexcept { return Items<World, Member>(q, m); }
    bool bounded() const noexcept { return (q->max_items | q->max_bytes) != 0; }
    // Somebody is in the section, or died there.
    bool in_doubt() const noexcept { return q->mutex.held() || q->dirty.load(std::memory_order_relaxed) != 0; }

    template <class Who>
    Result enter(Who& who, Wait& wait) noexcept {
        if (q->mutex.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        if (q->dirty.load(std::memory_order_relaxed) != 0) [[unlikely]] {
            if (m.arena.enter(who, wait) == Result::blocked) {
                q->mutex.release();
                return Result::blocked;
            }
            items().recover();
            items().end();
            m.arena.leave();
        }
        return Result::done;
    }

    // How many of the records the bounds let in.
    std::uint32_t allowance(const char* records, std::uint32_t count) noexcept {
        if (count > kMostAtOnce) count = kMostAtOnce;
        if (q->max_items != 0) {
            const std::uint64_t inside = size();
            if (inside >= q->max_items) return 0;
            if (count > q->max_items - inside) count = static_cast<std::uint32_t>(q->max_items - inside);
        }
        if (q->max_bytes != 0) {
            std::uint64_t inside = bytes();
            std::uint32_t fit = 0;
            for (; fit < count; ++fit) {
                const auto* record = reinterpret_cast<const Record*>(records);
                // An item larger than the bound is let in alone: else it could never pass.
                if (inside != 0 && inside + weight(record) > q->max_bytes) break;
                inside += weight(record);
                records += record->bytes();
            }
            return fit;
        }
        return count;
    }
    bool has_room(const char* records) noexcept {
        if (mode() != QueueMode::open) return true;
        const std::uint64_t inside = bytes();
        return (q->max_items == 0 || size() < q->max_items) &&
               (q->max_bytes == 0 || inside == 0 ||
                inside + weight(reinterpret_cast<const Record*>(records)) <= q->max_bytes);
    }

    template <class Who>
    Result put_inside(Who& who, const char* records, std::uint32_t count, Taken& accepted, Wait& wait) noexcept {
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        Items<World, Member> all = items();
        all.begin();
        const std::uint64_t room = all.reserve(count);
        while (accepted.items < count && accepted.items < room) {
            const auto* record = reinterpret_cast<const Record*>(records + accepted.bytes);
            if (!all.put(record)) break;
            ++accepted.items;
            accepted.bytes += record->bytes();
        }
        all.end();
        m.arena.leave();
        return accepted.items != 0 ? Result::done : Result::no_memory;
    }

    // Enters the section with an item to take. done, blocked, empty or shut.
    template <class Who>
    Result await_item(Who& who, Wait& wait) noexcept {
        for (;;) {
            const bool due = leased() != 0 && inspection_due(who.look);
            const QueueMode now = mode();
            if (now == QueueMode::shut_now) return Result::shut;
            // Who finds nothing leaves the section to those who may change that, but for a look whether they live.
            if (due || size() != 0 || (who.look && in_doubt())) {
                if (enter(who, wait) == Result::blocked) return Result::blocked;
                // (Who looks does so now: what a death in the section has left may have come to light only here.)
                if (const std::uint32_t found = due || who.look ? items().inspect(who) : 0) q->getters.ring(found);
                const bool shut = mode() == QueueMode::shut_now;
                if (!shut && size() != 0) return Result::done;
                q->mutex.release();
                if (shut) return Result::shut;
            }
            const std::uint32_t bell = q->getters.announce(wait);
            if (wait.announce && (size() != 0 || mode() != now)) continue;  // SYNC count→announce
            if (now == QueueMode::shut) {
                // Nothing can come any more but what others still hold on lease.
                if (enter(who, wait) == Result::blocked) return Result::blocked;
                const bool awaited = items().awaited(who);
                q->mutex.release();
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

    // After a get or lease: leaves the section and tells who waits for what came of it.
    Result served(Result result, std::uint32_t items, Wait& wait) noexcept {
        q->mutex.release();
        if (result != Result::done) return result;
        if (bounded()) q->putters.ring(items);
        if (wait.slept_at_gate) {
            q->getters.announce_others();
            if (size() != 0) q->getters.wake(1);
        }
        if (mode() != QueueMode::open && size() == 0) q->getters.ring_for_all();  // perhaps there is nothing left to wait for
        return Result::done;
    }

    template <class Who>
    Result take_inside(Who& who, std::uint32_t max_items, char* out, std::uint32_t room, Taken& got, Wait& wait) noexcept {
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        Items<World, Member> all = items();
        all.begin();
        while (got.items < max_items && got.slot == kNoSlot && size() != 0) {
            const Frame* frame = all.first();
            if (got.items != 0 && (is_message(frame) || got.bytes + frame_bytes(frame->size) > room)) break;
            if (!all.get_first(out + got.bytes, got)) break;
        }
        all.shrink();
        all.end();
        m.arena.leave();
        return got.items != 0 ? Result::done : Result::no_memory;
    }

    template <class Who>
    Result lease_inside(Who& who, char* out, LeaseName& lease, Taken& got, Wait& wait) noexcept {
        Items<World, Member> all = items();
        if (is_message(all.first())) {
            if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
            const bool referred = all.refer_to_first(got);
            m.arena.leave();
            if (!referred) return Result::no_memory;
        }
        all.begin();
        all.lease_first(who.token, out, lease, got);
        all.end();
        return Result::done;
    }

    void settled() noexcept {
        if (unfinished() == 0) q->joiners.ring(word::kWakeAll);
        if (mode() != QueueMode::open) q->getters.ring_for_all();  // perhaps there is nothing left to wait for
    }

    State* q;
    Member& m;
};

}  // namespace treadle::ordered
