// local/queue.hpp: a queue of references within one process, first-in first-out or last-in first-out.
//
// Promise: as local/turnstile.hpp; any number of producers and consumers; put and get are a few instructions inside the
// section and never block. Items are opaque: whoever puts one gives a reference away, whoever gets one owns it.
//
// A ring of a power of two, doubled when full: items first_ .. first_ + count. A copy into a larger ring is complete before
// the one store that replaces the ring.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "turnstile.hpp"

namespace treadle::local {

enum class Order : std::uint32_t { first_in_first_out, last_in_first_out };

template <class World, class Section>
class Queue {
public:
    using Item = void*;
    using Gates = Turnstile<World, Section>;

    void initialise(std::uint64_t max_items, Order order) noexcept {
        gates.initialise(max_items);
        order_ = order;
    }
    // The items must be gone.
    void free_memory() noexcept {
        std::free(ring_);
        ring_ = nullptr;
        room_ = 0;
    }

    // done, blocked, full, shut, no_memory, or gone: it has moved.
    template <class Who>
    Result attempt_put(Who& who, Item item, Wait& wait) noexcept {
        const Result begun = gates.attempt_begin_put(who, wait);
        if (begun != Result::done) return begun;
        const std::uint64_t count = gates.count();
        if (count == room_ && !grow(count)) {
            gates.end_put(count, 0, wait);
            return Result::no_memory;
        }
        ring_[(first_ + count) & (room_ - 1)] = item;
        gates.end_put(count + 1, 1, wait);
        return Result::done;
    }

    // done, blocked, empty, shut or gone. `lease`: what is taken is out on lease; `until_settled`: see Turnstile.
    template <class Who>
    Result attempt_get(Who& who, Item& item, Wait& wait, bool lease = false, bool until_settled = false) noexcept {
        const Result begun = gates.attempt_begin_get(who, wait, until_settled);
        if (begun != Result::done) return begun;
        if (lease) gates.lend();
        const std::uint64_t count = gates.count();
        item = order_ == Order::first_in_first_out ? ring_[first_++ & (room_ - 1)] : ring_[(first_ + count - 1) & (room_ - 1)];
        gates.end_get(count - 1, 1, wait);
        return Result::done;
    }

    // An item that was got is the next to be got again, whatever the bound and even after a shutdown. blocked, no_memory, gone, or
    // shut: all items were thrown away, and the caller throws this one away.
    template <class Who>
    Result attempt_return(Who& who, Item item, Wait& wait) noexcept {
        const Result begun = gates.attempt_begin_return(who, wait);
        if (begun != Result::done) return begun;
        const std::uint64_t count = gates.count();
        if (count == room_ && !grow(count)) {
            gates.end_return(count);
            return Result::no_memory;
        }
        if (order_ == Order::first_in_first_out) ring_[--first_ & (room_ - 1)] = item;
        else ring_[(first_ + count) & (room_ - 1)] = item;
        gates.end_return(count + 1);
        return Result::done;
    }

    // Shuts the queue down. `dropped` receives what was in it, if all of it is to go: `drop(item)` runs inside the section.
    // blocked or gone.
    template <class Who, class Drop>
    Result attempt_shut_down(Who& who, bool now, Wait& wait, Drop drop) noexcept {
        const Result begun = gates.attempt_begin_shut_down(who, now ? Mode::shut_now : Mode::shut, wait);
        if (begun != Result::done) return begun;
        const std::uint64_t count = gates.count(), dropped = now ? count : 0;
        for (std::uint64_t i = 0; i < dropped; ++i) drop(ring_[(first_ + i) & (room_ - 1)]);
        gates.end_shut_down(count - dropped, dropped);
        return Result::done;
    }

    // Inside the section (Turnstile::attempt_begin_move): the items from the oldest on. They stay the queue's.
    Item item_at(std::uint64_t i) const noexcept { return ring_[(first_ + i) & (room_ - 1)]; }

    // For whoever is alone with the queue.
    template <class Visit>
    void for_each(Visit visit) const noexcept {
        for (std::uint64_t i = 0; i < gates.count(); ++i) visit(ring_[(first_ + i) & (room_ - 1)]);
    }

    Gates gates;

private:
    bool grow(std::uint64_t count) noexcept {
        const std::uint64_t room = room_ == 0 ? 8 : room_ * 2;
        auto* larger = static_cast<Item*>(std::malloc(room * sizeof(Item)));
        if (larger == nullptr) return false;
        for (std::uint64_t i = 0; i < count; ++i) larger[i] = ring_[(first_ + i) & (room_ - 1)];
        Item* old = ring_;
        ring_ = larger;
        first_ = 0;
        room_ = room;
        std::free(old);
        return true;
    }

    Item* ring_;
    std::uint64_t first_, room_;
    Order order_;
};

}  // namespace treadle::local
