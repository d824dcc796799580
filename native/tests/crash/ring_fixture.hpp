// crash/ring_fixture.hpp: a by-value queue whose users are killed: what the keeper and a victim do to it, and what a
// survivor finds in it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "crash/queue_items.hpp"
#include "treadle/ring/queue.hpp"

namespace arena_crash {

using QueueOfKeeper = Queue<SharedWorld, Keeper>;
using QueueOfProcess = Queue<SharedWorld, Mapping>;
using State = QueueState<SharedWorld>;

// --- What the keeper and the phantom do in setups ---------------------------------------------------------------------

inline State* state() noexcept { return reinterpret_cast<State*>(object); }
inline QueueOfKeeper queue_of(Keeper& member) noexcept { return QueueOfKeeper(state(), member); }

inline void found_queue(std::uint64_t max_items) {
    found_arena();
    object = &QueueOfKeeper::make(*keeper, max_items, 0)->block;
    object_slot = keeper->handles.add(keeper->arena, keeper->process, object);
    queue_blocks = keeper->arena.header().blocks.load();
    found_absent_phantom();
}
inline void keeper_puts_frames(const char* frames, std::uint32_t count) {
    QueueOfKeeper::Taken accepted;
    require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return queue_of(*keeper).attempt_put(who, frames, count, accepted, wait);
    }));
}
inline void keeper_puts(std::uint32_t value, std::uint32_t bytes = kInline) {
    char frame[frame_bytes(kLargestFrame)];
    write_inline(frame, value, bytes);
    keeper_puts_frames(frame, 1);
}
inline void keeper_puts_message(std::uint32_t value) {
    char frame[frame_bytes(sizeof(MessagePayload))];
    std::uint32_t slot;
    in_section(keeper->arena, keeper->caller(), [&] { write_message(*keeper, frame, value, kMessage, slot); });
    keeper_puts_frames(frame, 1);
    in_section(keeper->arena, keeper->caller(),
               [&] { keeper->handles.drop(keeper->arena, keeper->process, slot); });
}
inline void keeper_takes() {
    char out[kRoom];
    QueueOfKeeper::Taken got;
    require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return queue_of(*keeper).attempt_get(who, 1, out, kRoom, got, wait);
    }));
    drop_slot(*keeper, got.slot);
}
inline LeaseName leases_as(Keeper& member) {
    char out[kRoom];
    QueueOfKeeper::Taken got;
    LeaseName name;
    Keeper::Caller who{member.token, false, keeper.get()};
    require(at_once(who, [&](auto& w, Wait& wait) { return queue_of(member).attempt_lease(w, out, name, got, wait); }));
    drop_slot(member, got.slot);
    return name;
}
inline void keeper_gives_back(LeaseName name) {
    require(at_once(keeper->caller(),
                    [&](auto& who, Wait& wait) { return queue_of(*keeper).attempt_nack(who, name, wait); }));
}

// --- What a victim does -----------------------------------------------------------------------------------------------

inline QueueOfProcess own_queue() noexcept { return QueueOfProcess(reinterpret_cast<State*>(own(object)), *self); }

inline void prepare_message(std::uint32_t value) {
    in_own_section([&] { write_message(*self, victims_frames, value, kMessage, victims_slot); });
}
// Puts the `count` prepared frames; as many attempts as it takes.
inline void put_prepared(std::uint32_t count) noexcept {
    const char* frames = victims_frames;
    while (count != 0) {
        QueueOfProcess::Taken accepted;
        const Result result = victim_does(false, [&](auto& who, Wait& wait) {
            return own_queue().attempt_put(who, frames, count, accepted, wait);
        });
        if (result != Result::done) std::abort();
        count -= accepted.items;
        frames += accepted.bytes;
    }
}
inline void take(std::uint32_t count, bool look = false) noexcept {
    QueueOfProcess::Taken got;
    const Result result = victim_does(look, [&](auto& who, Wait& wait) {
        return own_queue().attempt_get(who, count, victims_room, kRoom, got, wait);
    });
    if (result != Result::done || got.items != count) std::abort();
}
inline void lease(bool look = false) noexcept {
    QueueOfProcess::Taken got;
    const Result result = victim_does(look, [&](auto& who, Wait& wait) {
        return own_queue().attempt_lease(who, victims_room, victims_lease, got, wait);
    });
    if (result != Result::done || got.items != 1) std::abort();
}

// --- What a survivor finds --------------------------------------------------------------------------------------------

// Takes all there is, by get or by lease and acknowledgement; the size is right all the way.
inline std::string drain(Found& found, bool by_lease) {
    char out[kRoom];
    QueueOfProcess queue = own_queue();
    std::vector<std::uint64_t> sizes;
    for (;;) {
        QueueOfProcess::Taken got;
        LeaseName name;
        const Result result = at_once(survivor(), [&](auto& who, Wait& wait) {
            return by_lease ? queue.attempt_lease(who, out, name, got, wait)
                            : queue.attempt_get(who, 1, out, kRoom, got, wait);
        });
        if (result == (queue.mode() == QueueMode::open ? Result::empty : Result::shut)) break;
        CRASH_REQUIRE(result == Result::done, "%d after %zu items", static_cast<int>(result), found.items.size());
        CRASH_REQUIRE(found.items.size() < 100, "there is no end of items");
        if (const std::string wrong = read_item(out, got, found.items); !wrong.empty()) return wrong;
        if (by_lease)
            CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) {
                              return queue.attempt_ack(who, name, wait);
                          }) == Result::done);
        sizes.push_back(queue.size());
    }
    for (std::size_t i = 0; i < sizes.size(); ++i)
        CRASH_REQUIRE(sizes[i] == sizes.size() - i - 1, "size %llu with %zu items left",
                      static_cast<unsigned long long>(sizes[i]), sizes.size() - i - 1);
    CRASH_REQUIRE(queue.size() == 0 && queue.ready() == 0 && queue.bytes() == 0);
    return "";
}

// The queue serves: what is put comes out again. Touches both ends, so that what a death left there is collected.
inline std::string queue_goes_on() {
    QueueOfProcess queue = own_queue();
    Found found{};
    for (const bool message : {false, true}) {
        char frame[frame_bytes(kInline)];
        std::uint32_t slot = SharedHandles::kNoSlot;
        if (message) in_section(self->arena, keeper->caller(), [&] { write_message(*self, frame, 101, kMessage, slot); });
        else write_inline(frame, 100, kInline);
        QueueOfProcess::Taken accepted;
        CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) {
                          return queue.attempt_put(who, frame, 1, accepted, wait);
                      }) == Result::done);
        CRASH_REQUIRE(accepted.items == 1 && queue.size() == (message ? 2u : 1u));
        if (message)
            in_section(self->arena, keeper->caller(), [&] { self->handles.drop(self->arena, self->process, slot); });
    }
    if (const std::string wrong = drain(found, false); !wrong.empty()) return "afterwards: " + wrong;
    CRASH_REQUIRE(found.is(100, 101), "%s", list_of(found).c_str());
    return "";
}

}  // namespace arena_crash
