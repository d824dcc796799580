// crash/map_fixture.hpp: a map whose users are killed: what the keeper and a victim do to it, and what a survivor finds in it.
// A key is a number; so is a value, which from kLarge on lies in a block of its own, and holds an object.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "crash/queue_items.hpp"
#include "treadle/map/map.hpp"

namespace arena_crash {

namespace shared = treadle::map;
using MapOfKeeper = shared::Map<SharedWorld, Keeper>;
using MapOfProcess = shared::Map<SharedWorld, Mapping>;
using MapState = shared::MapState<SharedWorld>;
using shared::Condition;
using shared::Part;

inline constexpr std::uint32_t kLarge = 1000;
inline constexpr std::uint64_t kLargeBytes = 20'000, kLargeHead = sizeof(shared::Large<SharedWorld>) + 8;
using Pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

inline MapState* map_state() noexcept { return reinterpret_cast<MapState*>(object); }
inline MapOfKeeper map_of(Keeper& member) noexcept { return MapOfKeeper(map_state(), member); }
inline MapOfProcess own_map() noexcept { return MapOfProcess(reinterpret_cast<MapState*>(own(object)), *self); }

// --- Values -----------------------------------------------------------------------------------------------------------

inline std::uint32_t inline_bytes(std::uint32_t value) noexcept { return 8 + value % 50; }
inline char values_room[shared::kLargestPart];
inline std::uint32_t value_slot = SharedHandles::kNoSlot, held_slot = SharedHandles::kNoSlot;
inline Part prepared;

template <class Member>
void prepare_value(Member& member, std::uint32_t value) {
    fill_item(values_room, value, inline_bytes(value));
    prepared = Part{values_room, inline_bytes(value), 0};
    if (value < kLarge) return;
    auto& heap = member.arena.heap;
    SharedBlock* block = heap.allocate(kLargeHead + kLargeBytes, Kind::message);
    value_slot = member.handles.add(member.arena, member.process, block);
    fill_item(reinterpret_cast<char*>(block) + kLargeHead, value, kLargeBytes);
    SharedBlock* held = heap.allocate(100, Kind::lock);
    held_slot = member.handles.add(member.arena, member.process, held);
    const BlockRef ref = heap.ref_to(held);
    if (!heap.hold(block, &ref, 1)) give_up("no memory for what a value holds");
    prepared = Part{nullptr, kLargeBytes, heap.ref_to(block)};
}
template <class Map>
shared::Key key_of(Map map, const std::uint32_t& key) noexcept {
    return map.key(reinterpret_cast<const char*>(&key), sizeof key);
}

// --- What the keeper does in setups

inline std::uint64_t map_blocks = 0;  // live ones when the map is new and empty

inline void found_map() {
    found_arena();
    object = &MapOfKeeper::make(*keeper)->block;
    object_slot = keeper->handles.add(keeper->arena, keeper->process, object);
    map_blocks = keeper->arena.header().blocks.load();
}
inline void keeper_stores(std::uint32_t key, std::uint32_t value) {
    BlockRef put;
    in_section(keeper->arena, keeper->caller(), [&] { prepare_value(*keeper, value); });
    require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return map_of(*keeper).attempt_put(who, key_of(map_of(*keeper), key), Part{}, prepared, Condition{}, put, wait);
    }));
    if (value >= kLarge) {
        drop_slot(*keeper, value_slot);
        drop_slot(*keeper, held_slot);
    }
}
inline void keeper_removes(std::uint32_t key) {
    require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return map_of(*keeper).attempt_remove(who, key_of(map_of(*keeper), key), {}, wait);
    }));
}

// --- What a victim does

inline void prepare_own(std::uint32_t value) {
    in_own_section([&] { prepare_value(*self, value); });
}
inline void store_prepared(std::uint32_t key) noexcept {
    BlockRef put;
    if (victim_does(false, [&](auto& who, Wait& wait) {
            return own_map().attempt_put(who, key_of(own_map(), key), Part{}, prepared, Condition{}, put, wait);
        }) != Result::done)
        std::abort();
}
inline void remove_own(std::uint32_t key) noexcept {
    if (victim_does(false, [&](auto& who, Wait& wait) {
            return own_map().attempt_remove(who, key_of(own_map(), key), {}, wait);
        }) != Result::done)
        std::abort();
}

// --- What a survivor finds

inline std::string list_of(const Pairs& pairs) {
    std::string text;
    for (const auto& [key, value] : pairs) text += std::to_string(key) + ": " + std::to_string(value) + " ";
    return text;
}

// All that is in the map, by a copy and, key by key, without the section.
inline std::string read_map(Pairs& pairs) {
    MapOfProcess map = own_map();
    std::vector<std::uint64_t> room(64 * 1024);
    shared::Basket basket;
    basket.data = reinterpret_cast<char*>(room.data());
    basket.room = room.size() * 8;
    CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) { return map.attempt_copy(who, basket, wait); }) == Result::done);
    const char* at = basket.data;
    for (std::uint64_t i = 0; i < basket.records; ++i) {
        shared::Record record;
        std::memcpy(&record, at, sizeof record);
        at += sizeof record;
        const shared::Sizes sizes = shared::Sizes::of(record.sizes);
        std::uint32_t key, value = 0;
        CRASH_REQUIRE(sizes.key == 4);
        std::memcpy(&key, at, 4);
        const char* bytes = at + sizes.value_at();
        std::uint64_t size = sizes.value;
        if (shared::is_large(sizes.value)) {
            shared::LargeName name;
            std::memcpy(&name, bytes, sizeof name);
            SharedBlock* block = self->arena.heap.resolve(name.block);
            CRASH_REQUIRE(block != nullptr && name.bytes == kLargeBytes && record.value_slot != SharedHandles::kNoSlot);
            bytes = reinterpret_cast<const char*>(block) + kLargeHead;
            size = kLargeBytes;
            in_section(self->arena, keeper->caller(), [&] { self->handles.drop(self->arena, self->process, record.value_slot); });
            const auto* holds = reinterpret_cast<treadle::arena::Holds<SharedWorld>*>(
                self->arena.heap.block_at(Offset{block->first_child} << kGrainShift));
            CRASH_REQUIRE(self->arena.heap.resolve(holds->objects[0]) != nullptr, "what a value holds is gone");
        }
        const std::uint32_t first = shared::is_large(sizes.value) ? kLarge : 0;
        for (value = first; value < first + 100; ++value)
            if (is_item(bytes, value, size) && (first != 0 || size == inline_bytes(value))) break;
        CRASH_REQUIRE(value < first + 100, "the value of %u is none", key);
        pairs.emplace_back(key, value);
        shared::Found found;
        alignas(8) char out[shared::kLargestPart];
        const Result result = at_once(survivor(), [&](auto& who, Wait& wait) {
            return map.attempt_find(who, key_of(map, key), out, found, wait);
        });
        CRASH_REQUIRE(result == Result::done && found.entry == record.entry, "%d for %u", static_cast<int>(result), key);
        CRASH_REQUIRE(found.slot != SharedHandles::kNoSlot || is_item(out, value, found.bytes));
        if (found.slot != SharedHandles::kNoSlot)
            in_section(self->arena, keeper->caller(), [&] { self->handles.drop(self->arena, self->process, found.slot); });
        at += sizes.content();
    }
    std::uint64_t count = 0;
    at_once(survivor(), [&](auto& who, Wait& wait) { return map.attempt_count(who, count, wait); });
    CRASH_REQUIRE(count == pairs.size(), "%llu and not %zu", static_cast<unsigned long long>(count), pairs.size());
    return "";
}

// The map serves: it takes new keys, in order, and gives them up; then it is empty, and nothing of it is left.
inline std::string map_goes_on(Pairs pairs) {
    MapOfProcess map = own_map();
    BlockRef put;
    for (std::uint32_t key = 500; key < 503; ++key) {
        fill_item(values_room, key % 50, inline_bytes(key % 50));
        CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) {
            return map.attempt_put(who, key_of(map, key), Part{}, Part{values_room, inline_bytes(key % 50), 0}, Condition{}, put, wait);
        }) == Result::done);
        pairs.emplace_back(key, key % 50);
    }
    Pairs found;
    if (const std::string wrong = read_map(found); !wrong.empty()) return "afterwards: " + wrong;
    CRASH_REQUIRE(found == pairs, "%s", list_of(found).c_str());
    for (const auto& [key, value] : pairs)
        CRASH_REQUIRE(at_once(survivor(), [&, key = key](auto& who, Wait& wait) {
            return map.attempt_remove(who, key_of(map, key), {}, wait);
        }) == Result::done);
    while (at_once(survivor(), [&](auto& who, Wait& wait) { return map.attempt_free_waste(who, wait); }) == Result::done) {
    }
    const auto* state = reinterpret_cast<const MapState*>(own(object));
    CRASH_REQUIRE(state->count.load() == 0 && state->bytes == 0 && state->large == 0 && state->oldest == 0);
    return arena_is_sound(map_blocks + state->segments - 1);
}

}  // namespace arena_crash
