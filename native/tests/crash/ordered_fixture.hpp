// crash/ordered_fixture.hpp: an ordered queue whose users are killed: what the keeper and a victim do to it, and what a
// survivor finds in it. An item's key is its value, so that items come out as 1, 2, 3, however they were put.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "crash/queue_items.hpp"
#include "treadle/ordered/queue.hpp"

namespace arena_crash {

using treadle::ordered::Order;
using treadle::ordered::Record;
using treadle::ordered::Standing;
using QueueOfKeeper = treadle::ordered::OrderedQueue<SharedWorld, Keeper>;
using QueueOfProcess = treadle::ordered::OrderedQueue<SharedWorld, Mapping>;
using State = treadle::ordered::OrderedState<SharedWorld>;
using OrderedItem = treadle::ordered::Item<SharedWorld>;
using Table = treadle::ordered::Table<SharedWorld>;

// --- What the keeper and the phantom do in setups ---------------------------------------------------------------------

inline State* state() noexcept { return reinterpret_cast<State*>(object); }
inline QueueOfKeeper queue_of(Keeper& member) noexcept { return QueueOfKeeper(state(), member); }

inline void found_queue(Order order, std::uint64_t max_items) {
    found_arena();
    object = &QueueOfKeeper::make(*keeper, order, max_items, 0)->block;
    object_slot = keeper->handles.add(keeper->arena, keeper->process, object);
    queue_blocks = keeper->arena.header().blocks.load();
    found_absent_phantom();
}

// What goes before an item's frame.
inline constexpr std::uint32_t kRecordHead = sizeof(Record) + padded(4);
inline void write_key(char* out, Order order, std::uint32_t value) noexcept {
    const Record record{order == Order::by_key ? 4u : 0u, 0};
    const std::uint32_t key = __builtin_bswap32(value);
    std::memcpy(out, &record, sizeof record);
    if (order == Order::by_key) std::memcpy(out + sizeof record, &key, sizeof key);
}
inline std::uint32_t head_bytes(Order order) noexcept { return order == Order::by_key ? kRecordHead : sizeof(Record); }

inline void keeper_puts_record(const char* record) {
    Taken accepted;
    require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return queue_of(*keeper).attempt_put(who, record, 1, accepted, wait);
    }));
}
inline void keeper_puts(std::uint32_t value, std::uint32_t bytes = kInline) {
    alignas(8) char record[kRecordHead + frame_bytes(kLargestFrame)];
    write_key(record, state()->order, value);
    write_inline(record + head_bytes(state()->order), value, bytes);
    keeper_puts_record(record);
}
inline void keeper_puts_message(std::uint32_t value) {
    alignas(8) char record[kRecordHead + frame_bytes(sizeof(MessagePayload))];
    std::uint32_t slot;
    write_key(record, state()->order, value);
    in_section(keeper->arena, keeper->caller(),
               [&] { write_message(*keeper, record + head_bytes(state()->order), value, kMessage, slot); });
    keeper_puts_record(record);
    drop_slot(*keeper, slot);
}
inline void keeper_takes() {
    alignas(8) char out[kRoom];
    Taken got;
    require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return queue_of(*keeper).attempt_get(who, 1, out, kRoom, got, wait);
    }));
    drop_slot(*keeper, got.slot);
}
inline LeaseName leases_as(Keeper& member) {
    alignas(8) char out[kRoom];
    Taken got;
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
inline void keeper_acknowledges(LeaseName name) {
    require(at_once(keeper->caller(),
                    [&](auto& who, Wait& wait) { return queue_of(*keeper).attempt_ack(who, name, wait); }));
}

// --- What a victim does -----------------------------------------------------------------------------------------------

inline State* own_state() noexcept { return reinterpret_cast<State*>(own(object)); }
inline QueueOfProcess own_queue() noexcept { return QueueOfProcess(own_state(), *self); }

// Writes a record; returns its size.
inline std::uint32_t write_item(char* out, std::uint32_t value, std::uint32_t bytes = kInline) noexcept {
    write_key(out, state()->order, value);
    return head_bytes(state()->order) + write_inline(out + head_bytes(state()->order), value, bytes);
}
inline void prepare_item(std::uint32_t value) { write_item(victims_frames, value); }
inline void prepare_message(std::uint32_t value) {
    write_key(victims_frames, state()->order, value);
    in_own_section([&] { write_message(*self, victims_frames + head_bytes(state()->order), value, kMessage, victims_slot); });
}
// Puts the `count` prepared records; as many attempts as it takes.
inline void put_prepared(std::uint32_t count) noexcept {
    const char* records = victims_frames;
    while (count != 0) {
        Taken accepted;
        const Result result = victim_does(false, [&](auto& who, Wait& wait) {
            return own_queue().attempt_put(who, records, count, accepted, wait);
        });
        if (result != Result::done) std::abort();
        count -= accepted.items;
        records += accepted.bytes;
    }
}
inline void take(std::uint32_t count, bool look = false) noexcept {
    Taken got;
    const Result result = victim_does(look, [&](auto& who, Wait& wait) {
        return own_queue().attempt_get(who, count, victims_room, kRoom, got, wait);
    });
    if (result != Result::done || got.items != count) std::abort();
}
inline void lease(bool look = false) noexcept {
    Taken got;
    const Result result = victim_does(look, [&](auto& who, Wait& wait) {
        return own_queue().attempt_lease(who, victims_room, victims_lease, got, wait);
    });
    if (result != Result::done || got.items != 1) std::abort();
}

// --- What a survivor finds --------------------------------------------------------------------------------------------

// Takes all there is, by get; the counts are right all the way.
inline std::string drain(Found& found) {
    alignas(8) char out[kRoom];
    QueueOfProcess queue = own_queue();
    std::vector<std::uint64_t> sizes;
    for (;;) {
        Taken got;
        const Result result = at_once(
            survivor(), [&](auto& who, Wait& wait) { return queue.attempt_get(who, 1, out, kRoom, got, wait); });
        if (result == (queue.mode() == QueueMode::open ? Result::empty : Result::shut)) break;
        CRASH_REQUIRE(result == Result::done, "%d after %zu items", static_cast<int>(result), found.items.size());
        CRASH_REQUIRE(found.items.size() < 100, "there is no end of items");
        if (const std::string wrong = read_item(out, got, found.items); !wrong.empty()) return wrong;
        sizes.push_back(queue.size());
    }
    for (std::size_t i = 0; i < sizes.size(); ++i)
        CRASH_REQUIRE(sizes[i] == sizes.size() - i - 1, "size %llu with %zu items left",
                      static_cast<unsigned long long>(sizes[i]), sizes.size() - i - 1);
    CRASH_REQUIRE(queue.size() == 0 && queue.bytes() == 0 && queue.taken() == queue.puts());
    return "";
}

// The queue serves: what is put comes out again, in order.
inline std::string queue_goes_on() {
    QueueOfProcess queue = own_queue();
    Found found{};
    const bool newest = state()->order == Order::newest_first;
    for (const std::uint32_t value : {newest ? 102u : 101u, newest ? 101u : 102u, 100u}) {
        alignas(8) char record[kRecordHead + frame_bytes(kInline)];
        std::uint32_t slot = SharedHandles::kNoSlot;
        write_item(record, value);
        if (value == 101)
            in_section(self->arena, keeper->caller(),
                       [&] { write_message(*self, record + head_bytes(state()->order), value, kMessage, slot); });
        Taken accepted;
        CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) {
                          return queue.attempt_put(who, record, 1, accepted, wait);
                      }) == Result::done);
        CRASH_REQUIRE(accepted.items == 1);
        if (slot != SharedHandles::kNoSlot)
            in_section(self->arena, keeper->caller(), [&] { self->handles.drop(self->arena, self->process, slot); });
    }
    CRASH_REQUIRE(queue.size() == 3);
    if (const std::string wrong = drain(found); !wrong.empty()) return "afterwards: " + wrong;
    CRASH_REQUIRE(found.is(100, 102), "%s", list_of(found).c_str());
    return "";
}

}  // namespace arena_crash
