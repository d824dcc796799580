// ordered/queue.hpp: by-value queues between processes that hand out the least item, or the newest, first.
//
// Promise: many producers and consumers; robust: a put or a get happens entirely or not at all, a death at any instruction
// costs nobody else more than the look that finds it, and what was out on lease comes back to its old place. Linearizable.
// One internal section serves both ends, since both change the one order (ring/queue.hpp has two, for there the ends never
// meet). A dead section owner is found by the next one to enter it, and everything derived is then computed anew.
//
// An item is a block of its own, and where it is stands in its state word: each step is published by one store to it.
//
//   made  --put-->  ready  --get-->  got                       got, done: freed at once
//                   ready  --lease (by t)-->  out by t  --ack-->  done
//                   ready  <--nack, or the death of t's process--  out by t
//                   ready  --discard-->  done
//
//   step of put                              death here
//   enter both sections, dirty = 1           nothing
//   a larger table made, filled, (publish)   a table that is not listed: freed by recover()
//   block made and filled in, its message    nobody's: the arena's rebuild() frees it
//     given to it
//   block given to the queue                 still `made`: freed by recover()
//   state = ready   (publish)                the item is in the queue; recover() counts it: puts is behind no sequence
//   puts, its place in the table             the same
//   dirty = 0, leave, ring                   parks are bounded
//
//   step of get                              death here
//   enter both sections, dirty = 1, copy     nothing
//   (a reference to the message)             the reference goes with the sweep of its process
//   state = got   (publish)                  the item is gone; recover() frees it
//   out of the table, freed                  the same
//
//   step of lease                            death here
//   the other count of deliveries written    not the valid one
//   state = out by t, other count (publish)  leased to the dead: ready again once somebody inspects
//   from the heap to the leases              the same; derived
//
//   step of ack, discard                     death here
//   state = done, with the count of done     recover() takes the count from the state, which it never lowers
//     items that it makes  (publish)
//   done, out of the table, freed            the same
//
//   step of nack, inspect                    death here
//   state = ready   (publish)                ready; the table is made anew
//   from the leases to the heap              the same
//
// Only `redelivered`, a figure for reports, may be behind by one after a death.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "layout.hpp"
#include "table.hpp"

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
    using MessageT = ring::Message<World>;

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

    // At some instant, each.
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
        Result result = Result::gone;
        if (ItemT* item = held(name)) {
            result = m.arena.enter(who, wait);
            if (result == Result::done) {
                set_dirty(1);
                const std::uint64_t done = declare_done(item);
                places().end_lease(item);
                q->done.store(done, std::memory_order_seq_cst);
                m.arena.heap.free(&item->block);
                set_dirty(0);
                m.arena.leave();
            }
        }
        q->mutex.release();
        if (result == Result::done) settled();
        return result;
    }

    // Gives the leased item back to its place. done, blocked, or gone.
    template <class Who>
    Result attempt_nack(Who& who, LeaseName name, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        ItemT* item = held(name);
        if (item != nullptr) give_back(item);
        q->mutex.release();
        if (item == nullptr) return Result::gone;
        q->getters.ring(1);
        return Result::done;
    }

    // `count` items are done with. overflow: more than were put.
    template <class Who>
    Result attempt_done(Who& who, std::uint64_t count, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint64_t done = q->done.load(std::memory_order_relaxed);
        const bool due = count <= puts() - done;
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
            set_dirty(1);
            for (std::uint32_t i = 0; i < kMostAtOnce && size() != 0; ++i) {
                ItemT* item = places().first();
                const std::uint64_t done = declare_done(item);
                forget_first(item);
                q->done.store(done, std::memory_order_seq_cst);
                m.arena.heap.free(&item->block);
            }
            places().shrink();
            set_dirty(0);
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
        const std::uint32_t found = inspect(who);
        q->mutex.release();
        if (found != 0) q->getters.ring(found);
        return Result::done;
    }

private:
    static constexpr std::uint32_t kMostAtOnce = 64;  // items of one stay in the sections
    static constexpr std::int64_t kInspectEvery = 100'000'000;

    Places<World, Member> places() noexcept { return Places<World, Member>(q, m); }
    bool bounded() const noexcept { return (q->max_items | q->max_bytes) != 0; }
    // Somebody is in the section, or died there.
    bool in_doubt() const noexcept { return q->mutex.held() || q->dirty.load(std::memory_order_relaxed) != 0; }

    void set_dirty(std::uint32_t value) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->dirty.store(value, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    template <class Atom>
    static void change(Atom& counter, std::int64_t by) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(by), std::memory_order_seq_cst);
    }
    static unsigned valid_count(const ItemT* item) noexcept { return valid_count_of(item->state.load(std::memory_order_relaxed)); }
    // The step's one store: nothing of it may be moved to its other side. (The section orders it for the living.)
    static void publish(ItemT* item, Standing standing, unsigned valid_count, std::uint64_t rest = 0) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        item->state.store(make_state(standing, valid_count, rest), std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    template <class Who>
    Result enter(Who& who, Wait& wait) noexcept {
        if (q->mutex.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        if (q->dirty.load(std::memory_order_relaxed) != 0) [[unlikely]] {
            if (m.arena.enter(who, wait) == Result::blocked) {
                q->mutex.release();
                return Result::blocked;
            }
            recover();
            set_dirty(0);
            m.arena.leave();
        }
        return Result::done;
    }

    // What a death in the section has left is settled, and all that is derived computed anew. Idempotent, so it may die, too.
    // Inside both sections.
    void recover() noexcept {
        auto& heap = m.arena.heap;
        std::uint64_t bytes = 0, never_out = 0;
        std::uint64_t puts = q->puts.load(std::memory_order_relaxed), done = q->done.load(std::memory_order_relaxed);
        places().clear();
        heap.for_each_child(&q->block, [&](Block<World>* block) {
            if (static_cast<arena::Kind>(block->kind) == arena::Kind::table && heap.ref_to(block) != q->table) heap.free(block);
            if (static_cast<arena::Kind>(block->kind) != arena::Kind::item) return;
            auto* item = reinterpret_cast<ItemT*>(block);
            const std::uint64_t state = item->state.load(std::memory_order_relaxed);
            switch (standing_of(state)) {
                case Standing::ready:
                case Standing::out:
                    places().append(item, standing_of(state) == Standing::out);
                    if (item->sequence >= puts) puts = item->sequence + 1;
                    if (standing_of(state) == Standing::out) return;
                    bytes += weight(item->frame());
                    never_out += item->delivered() == 0;
                    return;
                case Standing::done:
                    if (rest_of(state) > done) {
                        // Before the item goes, which is all that tells.
                        q->done.store(done = rest_of(state), std::memory_order_seq_cst);
                        std::atomic_signal_fence(std::memory_order_seq_cst);
                    }
                    break;
                default: break;
            }
            heap.free(block);
        });
        places().order();
        q->bytes.store(bytes, std::memory_order_seq_cst);
        q->puts.store(puts, std::memory_order_seq_cst);
        q->taken.store(puts - never_out, std::memory_order_relaxed);
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
                if (inside != 0 && inside + weight(record->frame()) > q->max_bytes) break;
                inside += weight(record->frame());
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
                inside + weight(reinterpret_cast<const Record*>(records)->frame()) <= q->max_bytes);
    }

    template <class Who>
    Result put_inside(Who& who, const char* records, std::uint32_t count, Taken& accepted, Wait& wait) noexcept {
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        set_dirty(1);
        Places<World, Member> place = places();
        const std::uint64_t there = place.ready() + place.leased();
        if (!place.reserve(there + count) && count > place.capacity() - there)
            count = static_cast<std::uint32_t>(place.capacity() - there);
        for (; accepted.items < count; ++accepted.items) {
            const auto* record = reinterpret_cast<const Record*>(records + accepted.bytes);
            const std::uint64_t sequence = q->puts.load(std::memory_order_relaxed);
            ItemT* item = make_item(record, sequence);
            if (item == nullptr) break;
            publish(item, Standing::ready, 0);
            q->puts.store(sequence + 1, std::memory_order_seq_cst);  // before the size: who sees the item sees it unfinished
            change(q->bytes, static_cast<std::int64_t>(weight(record->frame())));
            place.add(item);
            accepted.bytes += record->bytes();
        }
        set_dirty(0);
        m.arena.leave();
        return accepted.items != 0 ? Result::done : Result::no_memory;
    }
    ItemT* make_item(const Record* record, std::uint64_t sequence) noexcept {
        auto& heap = m.arena.heap;
        const Frame* frame = record->frame();
        auto* item = reinterpret_cast<ItemT*>(heap.allocate(
            sizeof(ItemT) + padded(record->key_bytes) + frame_bytes(frame->size), arena::Kind::item));
        if (item == nullptr) return nullptr;
        item->state.store(make_state(Standing::made, 0), std::memory_order_relaxed);
        item->sequence = sequence;
        item->deliveries[0] = item->deliveries[1] = 0;
        item->key_bytes = record->key_bytes;
        std::memcpy(item->key(), record->key(), padded(record->key_bytes) + frame_bytes(frame->size));
        if (is_message(frame)) heap.set_owner(heap.resolve(message_of(frame).message), &item->block);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        heap.set_owner(&item->block, &q->block);
        return item;
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
                if (const std::uint32_t found = due || who.look ? inspect(who) : 0) q->getters.ring(found);
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
                const bool awaited = this->awaited(who);
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
        set_dirty(1);
        while (got.items < max_items && got.slot == kNoSlot && size() != 0) {
            ItemT* item = places().first();
            const Frame* frame = item->frame();
            if (got.items != 0 && (is_message(frame) || got.bytes + frame_bytes(frame->size) > room)) break;
            if (is_message(frame) && !refer(frame, got)) break;
            copy_out(item, out + got.bytes, got);
            publish(item, Standing::got, valid_count(item));
            forget_first(item);
            m.arena.heap.free(&item->block);  // its message stays, if that is referred to
        }
        places().shrink();
        set_dirty(0);
        m.arena.leave();
        return got.items != 0 ? Result::done : Result::no_memory;
    }

    template <class Who>
    Result lease_inside(Who& who, char* out, LeaseName& name, Taken& got, Wait& wait) noexcept {
        ItemT* item = places().first();
        if (is_message(item->frame())) {
            if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
            const bool referred = refer(item->frame(), got);
            m.arena.leave();
            if (!referred) return Result::no_memory;
        }
        copy_out(item, out, got);
        set_dirty(1);
        const std::uint32_t delivered = item->delivered();
        const unsigned other = valid_count(item) ^ 1;
        item->deliveries[other] = delivered + 1;
        name = LeaseName{m.arena.heap.ref_to(&item->block), delivered + 1};
        publish(item, Standing::out, other, who.token);
        change(q->bytes, -static_cast<std::int64_t>(weight(item->frame())));
        places().lease_first();
        change(delivered == 0 ? q->taken : q->redelivered, 1);
        set_dirty(0);
        return Result::done;
    }

    void give_back(ItemT* item) noexcept {
        set_dirty(1);
        publish(item, Standing::ready, valid_count(item));
        change(q->bytes, static_cast<std::int64_t>(weight(item->frame())));
        places().come_back(item);
        set_dirty(0);
    }

    // Makes the items of dead holders ready; returns how many.
    template <class Who>
    std::uint32_t inspect(Who& who) noexcept {
        std::uint32_t found = 0;
        word::Token living = who.token;  // holders often come in a row
        places().for_each_lease([&](ItemT* item) {
            const word::Token holder = rest_of(item->state.load(std::memory_order_relaxed));
            if (holder == living) return;
            if (who.alive(holder)) {
                living = holder;
                return;
            }
            give_back(item);
            ++found;
        });
        return found;
    }

    // May an item come back that the caller should wait for? Two that hold a lease each and wait for another item would wait
    // for each other: so who holds any does not wait.
    template <class Who>
    bool awaited(Who& who) noexcept {
        bool own = false, others = false;
        places().for_each_lease([&](ItemT* item) {
            (rest_of(item->state.load(std::memory_order_relaxed)) == who.token ? own : others) = true;
        });
        return others && !own;
    }

    // The item that is meant, if it is in this queue, and on that very lease to a thread of this process.
    ItemT* held(LeaseName name) noexcept {
        Block<World>* block = m.arena.heap.resolve(name.lease);
        if (block == nullptr || static_cast<arena::Kind>(block->kind) != arena::Kind::item ||
            block->owner.load(std::memory_order_relaxed) != m.arena.heap.ref_to(&q->block))
            return nullptr;
        auto* item = reinterpret_cast<ItemT*>(block);
        if (item->standing() != Standing::out || item->delivered() != name.slot) return nullptr;
        auto* holder = m.arena.registry.participant_of(rest_of(item->state.load(std::memory_order_relaxed)));
        return holder != nullptr && holder->process.load(std::memory_order_relaxed) == m.process ? item : nullptr;
    }

    // Returns what `done` must be set to.
    std::uint64_t declare_done(ItemT* item) noexcept {
        // Never more than was put: task_done() may have been called for this item already.
        const std::uint64_t before = q->done.load(std::memory_order_relaxed);
        const std::uint64_t done = before < puts() ? before + 1 : before;
        publish(item, Standing::done, valid_count(item), done);
        return done;
    }

    // The first item is published as gone: out of the table and the counts.
    void forget_first(ItemT* item) noexcept {
        change(q->bytes, -static_cast<std::int64_t>(weight(item->frame())));
        places().remove_first();
        change(item->delivered() == 0 ? q->taken : q->redelivered, 1);
    }

    void copy_out(ItemT* item, char* out, Taken& got) noexcept {
        const std::uint32_t size = frame_bytes(item->frame()->size);
        std::memcpy(out, item->frame(), size);
        const std::uint32_t delivered = item->delivered();
        reinterpret_cast<Frame*>(out)->deliveries = static_cast<std::uint16_t>(delivered < 0xffff ? delivered : 0xffff);
        got.bytes += size;
        ++got.items;
    }

    bool refer(const Frame* frame, Taken& got) noexcept {
        got.slot = m.handles.add(m.arena, m.process, m.arena.heap.resolve(message_of(frame).message));
        return got.slot != kNoSlot;
    }

    void settled() noexcept {
        if (unfinished() == 0) q->joiners.ring(word::kWakeAll);
        if (mode() != QueueMode::open) q->getters.ring_for_all();  // perhaps there is nothing left to wait for
    }

    State* q;
    Member& m;
};

}  // namespace treadle::ordered
