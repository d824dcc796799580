// tasks/lot.hpp: where the tasks of this process's event loops wait: by futex word, in order of arrival, without a thread.
//
// Promise: thread-safe, every step is O(1) but for the words that share a bucket. A task that waits has a *place*: it is
// parked at a word, then notified (which only says that another attempt may succeed), then leaves. Whoever notifies takes
// the place out of its line and into the list of the notified, from where a holder of the interpreter delivers it to its
// event loop. The source of the structure: the parking lot of WebKit (F. Pizlo, 2015); departures: the sleepers are tasks,
// and what parks here also subscribes to the wakes of other processes (tasks/doorbells.hpp).
//
//   place      absent --park--> parked --notify--> notified --take--> delivered --leave--> absent
//                                  any of them     --leave--> absent
//
// Invariant: a notified place makes an attempt, or whoever owns it passes the notification on (leave() says that it is
// owed). So a wake-up that was meant for a task that is cancelled is not lost. Nor is one from another process that finds
// the bucket's places notified already, and not gone yet: the next that leaves the bucket passes it on.
#pragma once

#include <atomic>
#include <cstdint>

#include "../platform/buckets.hpp"
#include "../platform/quick_lock.hpp"

namespace treadle::tasks {

using platform::bucket_of;
using platform::kBuckets;

enum class PlaceState : std::uint8_t { absent, parked, notified, delivered };

struct Place;
// May others' deaths be what holds a place's task up? Asked under the lot's lock, so it only reads.
using Doubt = bool (*)(const Place&) noexcept;

struct Place {
    const void* word = nullptr;
    const void* arena = nullptr;  // the first byte of the arena that the word lies in; null: private memory
    std::uint32_t expected = 0;   // what the word held when it parked
    std::uint32_t bits = 0;       // which notifications reach it (FUTEX_WAIT_BITSET)
    std::uint32_t bucket = 0;
    std::uint64_t epoch = 0;      // of the process that parked it (platform/threads.hpp)
    void* owner = nullptr;        // whoever the notification is delivered to
    PlaceState state = PlaceState::absent;
    Doubt doubt = nullptr;        // null: it need not look whether others live
    const void* subject = nullptr;  // what the doubt is about
    bool told_to = false;   // it was notified to look
    bool told = false;      // its latest attempt began after its notification
    Place *before = nullptr, *behind = nullptr;        // in the line of its word, a ring
    Place *up = nullptr, *down = nullptr;              // lines of one bucket: their first places
    bool first = false;                                // of its line
    Place* next_notified = nullptr;
};

template <class World>
class Lot {
public:
    // How many places are parked, at this instant; read without the lock.
    bool empty() const noexcept { return parked_.load(std::memory_order_relaxed) == 0; }
    // Has the bucket places that somebody parked and has not left? A hint, of this instant; read without the lock.
    bool waits_in(std::uint32_t bucket) const noexcept { return waiting_[bucket].load(std::memory_order_relaxed) != 0; }
    bool has_notified() const noexcept { return notified_.load(std::memory_order_acquire) != nullptr; }

    // `in_front`: it was notified in vain and keeps its place. `then()` runs under the lock.
    template <class Then>
    void park(Place& place, bool in_front, Then then) noexcept {
        const platform::QuickGuard guard(lock_);
        Place* line = buckets_[place.bucket];
        while (line != nullptr && line->word != place.word) line = line->down;
        place.state = PlaceState::parked;
        place.told_to = false;
        if (line == nullptr) {
            place.before = place.behind = &place;
            open_line(place);
        } else {
            place.behind = line;
            place.before = line->before;
            place.before->behind = place.behind->before = &place;
            if (in_front) {
                close_line(*line);
                open_line(place);
            } else {
                place.first = false;
            }
        }
        parked_.store(parked_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        count_waiting(place.bucket, 1);
        then();
    }

    // Notifies up to `count` of those who wait at the word; returns how many.
    std::uint32_t notify(const void* word, std::uint32_t bucket, std::uint32_t count, std::uint32_t bits) noexcept {
        const platform::QuickGuard guard(lock_);
        for (Place* line = buckets_[bucket]; line != nullptr; line = line->down)
            if (line->word == word) return notify_line(line, count, bits, false);
        return 0;
    }

    // Hands on what was rung for an arena: collect(notify) runs under the lock, where notify(bucket, all) notifies the
    // first, or all, of each word of the bucket, and returns how many.
    template <class Collect>
    void hear(const void* arena, Collect collect) noexcept {
        const platform::QuickGuard guard(lock_);
        collect([&](std::uint32_t bucket, bool all) {
            std::uint32_t told = 0;
            for (Place* line = buckets_[bucket]; line != nullptr;) {
                Place* next = line->down;
                if (line->arena == arena) told += notify_line(line, all ? ~std::uint32_t{0} : 1, ~std::uint32_t{0}, false);
                line = next;
            }
            if (told == 0 && !all) unheard_[bucket] = true;
            return told;
        });
    }

    // Tells the first of each line to look whether others live, if `suspicious(place)`, up to `most` of them; each call goes
    // on where the last one ended. Returns how many.
    template <class Suspicious>
    std::uint32_t notify_to_look(std::uint32_t most, Suspicious suspicious) noexcept {
        const platform::QuickGuard guard(lock_);
        std::uint32_t told = 0;
        for (std::uint32_t i = 0; i < kBuckets && told < most; ++i) {
            looked_ = (looked_ + 1) % kBuckets;
            for (Place* line = buckets_[looked_]; line != nullptr;) {
                Place* next = line->down;
                if (suspicious(*line)) told += notify_line(line, 1, ~std::uint32_t{0}, true);
                line = next;
            }
        }
        return told;
    }

    // The next to be delivered, or null. `keep(place)` runs under the lock: there its owner cannot leave.
    template <class Keep>
    Place* take_notified(Keep keep) noexcept {
        if (!has_notified()) return nullptr;
        const platform::QuickGuard guard(lock_);
        Place* place = notified_.load(std::memory_order_relaxed);
        if (place == nullptr) return nullptr;
        unlist(nullptr, place);
        place->state = PlaceState::delivered;
        keep(*place);
        return place;
    }

    bool is_notified(const Place& place) noexcept {
        const platform::QuickGuard guard(lock_);
        return place.state == PlaceState::notified || place.state == PlaceState::delivered;
    }

    struct Left {
        bool notified;  // the notification is owed to somebody else, unless it was used
        bool rung;      // a wake from another process is owed to somebody else, in any case
    };
    // `take_back(empty)` runs under the lock: it takes the subscription back if the bucket is `empty` (nobody of its arena
    // parks there any more), and says whether a wake from another process has to be passed on.
    template <class TakeBack>
    Left leave(Place& place, TakeBack take_back) noexcept {
        const platform::QuickGuard guard(lock_);
        const PlaceState state = place.state;
        place.state = PlaceState::absent;
        if (state != PlaceState::absent) count_waiting(place.bucket, -1);
        if (state == PlaceState::parked) {
            remove(&place);
        } else if (state == PlaceState::notified) {
            Place* before = nullptr;
            for (Place* p = notified_.load(std::memory_order_relaxed); p != &place; p = p->next_notified) before = p;
            unlist(before, &place);
        }
        const bool unheard = place.arena != nullptr && unheard_[place.bucket];
        if (unheard) unheard_[place.bucket] = false;
        const bool rung = take_back(!parked_in(place.arena, place.bucket));
        return {state == PlaceState::notified || state == PlaceState::delivered, rung || unheard};
    }

    bool parks_in(const void* arena) noexcept {
        const platform::QuickGuard guard(lock_);
        for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket)
            if (parked_in(arena, bucket)) return true;
        return false;
    }

    // In the child of a fork: the loops, and their tasks, are the parent's.
    void reinitialise() noexcept {
        lock_.reinitialise();
        for (Place*& top : buckets_) top = nullptr;
        notified_.store(nullptr, std::memory_order_relaxed);
        for (bool& unheard : unheard_) unheard = false;
        for (auto& waiting : waiting_) waiting.store(0, std::memory_order_relaxed);
        last_ = nullptr;
        parked_.store(0, std::memory_order_relaxed);
    }

private:
    void count_waiting(std::uint32_t bucket, int more) noexcept {
        auto& waiting = waiting_[bucket];
        waiting.store(waiting.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(more), std::memory_order_relaxed);
    }
    bool parked_in(const void* arena, std::uint32_t bucket) const noexcept {
        const Place* p = buckets_[bucket];
        while (p != nullptr && p->arena != arena) p = p->down;
        return p != nullptr;
    }
    void open_line(Place& place) noexcept {
        Place*& top = buckets_[place.bucket];
        place.first = true;
        place.up = nullptr;
        place.down = top;
        if (top != nullptr) top->up = &place;
        top = &place;
    }
    void close_line(Place& place) noexcept {
        place.first = false;
        (place.up == nullptr ? buckets_[place.bucket] : place.up->down) = place.down;
        if (place.down != nullptr) place.down->up = place.up;
        place.up = place.down = nullptr;
    }
    void remove(Place* place) noexcept {
        Place* heir = place->behind;
        if (place->first) {
            close_line(*place);
            if (heir != place) open_line(*heir);
        }
        place->before->behind = place->behind;
        place->behind->before = place->before;
        place->before = place->behind = nullptr;
        parked_.store(parked_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    }
    std::uint32_t notify_line(Place* first, std::uint32_t count, std::uint32_t bits, bool to_look) noexcept {
        std::uint32_t told = 0;
        Place* const last = first->before;
        for (Place* place = first; told < count;) {
            Place* next = place->behind;
            const bool ends = place == last;
            if ((place->bits & bits) != 0) {
                remove(place);
                place->state = PlaceState::notified;
                place->told_to = to_look;
                place->next_notified = nullptr;
                if (last_ == nullptr) notified_.store(place, std::memory_order_release);
                else last_->next_notified = place;
                last_ = place;
                ++told;
            }
            if (ends) break;
            place = next;
        }
        return told;
    }
    void unlist(Place* before, Place* place) noexcept {
        if (before == nullptr) notified_.store(place->next_notified, std::memory_order_release);
        else before->next_notified = place->next_notified;
        if (last_ == place) last_ = before;
        place->next_notified = nullptr;
    }

    platform::QuickLock<World> lock_;
    Place* buckets_[kBuckets] = {};
    bool unheard_[kBuckets] = {};            // a wake for one has come from another process when nobody was parked there
    typename World::template Atom<Place*> notified_{nullptr};  // in the order of their notification
    Place* last_ = nullptr;
    typename World::template Atom<std::uint32_t> parked_{0};
    // No order depends on it, so that it is no atom of the World's, each of whose accesses the schedule tests would branch at.
    std::atomic<std::uint32_t> waiting_[kBuckets] = {};
    std::uint32_t looked_ = 0;  // the bucket that was looked at last
};

}  // namespace treadle::tasks
