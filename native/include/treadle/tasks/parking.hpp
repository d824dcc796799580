// tasks/parking.hpp: how a task begins and ends its wait: its place in the lot, and its process's subscription.
//
// Promise: a task that parks is notified of every change of its word after that, or sees it when it looks once more; one
// that leaves says whether a wake-up has to be passed on. The process is subscribed to a bucket while places of its are in
// it; both change together, under the lot's lock, under which the reactor collects as well. So a ring finds
//
//   a place that is parked            it is notified
//   all notified, and not gone yet    the lot remembers the ring for the first that leaves
//   the last one about to leave       it sees the ring as it takes the subscription back, or the ringer sees that it did
//
// Deaths. A waker that dies before it has told anybody, and a process that dies with a wake for one, leave places that are
// overlooked: the reactor tells them when it looks (overlooked()), as a thread would find out when its park runs out.
#pragma once

#include <atomic>
#include <cstdint>

#include "../word/attempt.hpp"
#include "doorbells.hpp"
#include "lot.hpp"

namespace treadle::tasks {

// The reactor by which a place hears of other processes' wakes; none: private memory, or an arena without one for it.
template <class World>
struct Ears {
    arena::Header<World>* arena = nullptr;
    std::uint32_t reactor = Doorbells<World>::kNoReactor;

    Doorbells<World> bells() const noexcept { return Doorbells<World>(*arena); }
};

// The lower half of a word, as the futex would read it.
template <class World>
std::uint32_t word_of(const void* word) noexcept {
    return static_cast<const typename World::template Atom<std::uint32_t>*>(word)->load(std::memory_order_seq_cst);
}

// Parks at what the attempt said to wait for. False: it has changed meanwhile, try again.
template <class World, class LotT>
bool park(LotT& lot, Place& place, Ears<World> ears, const word::Wait& wait, bool in_front) noexcept {
    place.expected = wait.expected;
    lot.park(place, in_front, [&] {
        if (ears.arena != nullptr) ears.bells().subscribe(ears.reactor, place.bucket);
    });
    World::fence();  // SYNC parked→wake
    return word_of<World>(wait.word) == wait.expected;
}

// Of a parked place: its word has changed, and nobody has told it (yet). Whoever was to tell it may have died before that,
// and so may a process that took the wake for itself. Threads find out when their park runs out, tasks by this.
template <class World>
bool overlooked(const Place& place) noexcept {
    return place.arena != nullptr && word_of<World>(place.word) != place.expected;
}

// Each attempt of a task's begins with this. A place is notified at any moment: a notification that comes when the attempt is
// under way, or has succeeded, has not served that attempt.
template <class LotT>
void begin_attempt(LotT& lot, Place& place) noexcept {
    place.told = place.state != PlaceState::absent && lot.is_notified(place);
}

// Leaves the place. `used`: the task's latest attempt has made its notification, if that came first, serve its purpose.
// True: a wake-up is to be passed on.
template <class World, class LotT>
bool leave(LotT& lot, Place& place, Ears<World> ears, bool used) noexcept {
    if (place.state == PlaceState::absent) return false;
    const auto left = lot.leave(place, [&](bool empty) {
        if (ears.arena == nullptr) return false;
        return empty ? ears.bells().unsubscribe(ears.reactor, place.bucket) : !used && ears.bells().is_rung(ears.reactor, place.bucket);
    });
    return left.rung || (left.notified && !(used && place.told));
}

// What the reactor does with what was rung.
template <class World, class LotT>
void hear(LotT& lot, const void* arena, Ears<World> ears) noexcept {
    lot.hear(arena, [&](auto notify) { ears.bells().collect(ears.reactor, notify); });
}

}  // namespace treadle::tasks
