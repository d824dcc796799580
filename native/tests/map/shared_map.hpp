// map/shared_map.hpp: a map in a real arena, as the threads of a process use it. Keys and values are strings.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ring/line.hpp"
#include "treadle/map/map.hpp"

namespace shared_map {

using line::audited_blocks;
using line::inside;
using line::self;
using line::tree;
using treadle::arena::BlockRef;
using treadle::arena::Kind;
using treadle::arena::Mapping;
using treadle::arena::SharedHandles;
using treadle::map::Basket;
using treadle::map::Condition;
using treadle::map::Figures;
using treadle::map::Found;
using treadle::map::Key;
using treadle::map::kLargestPart;
using treadle::map::Part;
using treadle::map::Record;
using treadle::map::Sizes;
using treadle::platform::SharedWorld;
using treadle::word::Result;
using treadle::word::Wait;

using RealMap = treadle::map::Map<SharedWorld, Mapping>;
using State = RealMap::State;
using LargeT = treadle::map::Large<SharedWorld>;
inline constexpr std::uint64_t kLargeHead = sizeof(LargeT) + 8;

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// A block with the bytes of a large part, which this process refers to by `slot`.
inline BlockRef make_large(const std::string& text, std::uint32_t& slot) {
    BlockRef ref = 0;
    inside([&] {
        auto* block = tree().arena.heap.allocate(kLargeHead + text.size(), Kind::message);
        if (block == nullptr) return;
        std::memcpy(reinterpret_cast<char*>(block) + kLargeHead, text.data(), text.size());
        slot = tree().handles.add(tree().arena, tree().process, block);
        ref = tree().arena.heap.ref_to(block);
    });
    return ref;
}
inline std::string read_large(const treadle::map::LargeName& name) {
    const char* at = reinterpret_cast<const char*>(tree().arena.heap.block_at(treadle::arena::offset_of(name.block))) + kLargeHead;
    return std::string(at, name.bytes);
}
inline void drop(std::uint32_t slot) {
    if (slot != SharedHandles::kNoSlot) inside([&] { tree().handles.drop(tree().arena, tree().process, slot); });
}

class SharedMap {
public:
    SharedMap() {
        inside([&] {
            state_ = RealMap::make(tree());
            if (state_ != nullptr) slot_ = tree().handles.add(tree().arena, tree().process, &state_->block);
        });
        REQUIRE(state_ != nullptr && slot_ != SharedHandles::kNoSlot);
    }
    SharedMap(const SharedMap&) = delete;
    ~SharedMap() { drop(slot_); }

    RealMap map() const { return RealMap(state_, tree()); }
    State& state() const { return *state_; }
    Key key(const std::string& text) const { return map().key(text.data(), static_cast<std::uint32_t>(text.size())); }

    Result put(const std::string& key_text, const std::string& value, Condition condition = {}, BlockRef* put = nullptr,
               const std::string& form = "") const {
        std::uint32_t slots[2] = {SharedHandles::kNoSlot, SharedHandles::kNoSlot};
        Part parts[2];
        for (int i = 0; i < 2; ++i) {
            const std::string& text = i == 0 ? form : value;
            parts[i] = Part{text.data(), text.size(), 0};
            if (text.size() <= kLargestPart) continue;
            parts[i] = Part{nullptr, text.size(), make_large(text, slots[i])};
            if (parts[i].large == 0) return Result::no_memory;
        }
        BlockRef made = 0;
        const Result result = threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) {
            return map().attempt_put(who, key(key_text), parts[0], parts[1], condition, made, wait);
        });
        for (const std::uint32_t slot : slots) drop(slot);
        if (put != nullptr) *put = made;
        return result;
    }
    std::optional<std::string> get(const std::string& key_text, BlockRef* entry = nullptr) const {
        alignas(8) char out[kLargestPart];
        Found found;
        const Result result = threads::insist<SharedWorld>(
            self(), [&](auto& who, Wait& wait) { return map().attempt_find(who, key(key_text), out, found, wait); });
        if (entry != nullptr) *entry = found.entry;
        if (result == Result::empty) return std::nullopt;
        CHECK_EQ(result, Result::done);
        if (found.slot == treadle::map::kNoSlot) return std::string(out, found.bytes);
        const std::string text = read_large(found.large);
        drop(found.slot);
        return text;
    }
    bool has(const std::string& key_text) const {
        Found found;
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) {
                   return map().attempt_find(who, key(key_text), nullptr, found, wait);
               }) == Result::done;
    }
    Result remove(const std::string& key_text, Condition condition = {}) const {
        return threads::insist<SharedWorld>(
            self(), [&](auto& who, Wait& wait) { return map().attempt_remove(who, key(key_text), condition, wait); });
    }
    Result remove_entry(BlockRef entry) const {
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return map().attempt_remove_entry(who, entry, wait); });
    }
    Result pop(const std::string& key_text, std::string& value, bool simple = true) const {
        char out[kLargestPart];
        Found found;
        const Result result = threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) {
            return map().attempt_pop(who, key(key_text), out, found, [=](const char*) { return simple; }, wait);
        });
        if (result == Result::done) value = std::string(out, found.bytes);
        return result;
    }
    /// The value is a number of eight bytes; adds to it. Anything else is not wanted.
    Result add(const std::string& key_text, std::uint64_t n) const {
        alignas(8) char out[kLargestPart];
        Found found;
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) {
            return map().attempt_change(who, key(key_text), Part{}, out, found, [n](const char* old, std::uint32_t bytes, char* to) {
                std::uint64_t number = 0;
                if (old != nullptr && bytes != 8) return 0u;
                if (old != nullptr) std::memcpy(&number, old, 8);
                number += n;
                std::memcpy(to, &number, 8);
                return 8u;
            }, wait);
        });
    }
    void clear(bool free = true) const {
        CHECK_EQ(threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return map().attempt_clear(who, wait); }), Result::done);
        while (free && threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) {
                   return map().attempt_free_waste(who, wait);
               }) == Result::done) {
        }
    }
    std::uint64_t count() const {
        std::uint64_t count = 0;
        threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return map().attempt_count(who, count, wait); });
        return count;
    }
    Figures figures() const {
        Figures figures{};
        threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return map().attempt_figures(who, figures, wait); });
        const Figures observed = map().observed();
        CHECK(observed.count == figures.count && observed.buckets == figures.buckets && observed.bytes == figures.bytes);
        CHECK(observed.memory == figures.memory && observed.large == figures.large && observed.mended == figures.mended);
        return figures;
    }
    Result pass() const {
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return map().attempt_pass(who, wait); });
    }

    /// All entries, in order (forms in the place of keys that have one); or the newest alone.
    Pairs pairs(bool newest = false, bool values = true) const {
        std::vector<std::uint64_t> room(8);
        Basket basket;
        basket.values = values;
        Result result = Result::no_room;
        while (result == Result::no_room) {
            room.resize(room.size() + basket.needed / 8);
            basket.data = reinterpret_cast<char*>(room.data());
            basket.room = room.size() * 8;
            result = threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) {
                return newest ? map().attempt_copy_newest(who, basket, wait) : map().attempt_copy(who, basket, wait);
            });
        }
        CHECK(result == Result::done || (newest && result == Result::empty));
        CHECK(basket.size <= basket.needed);
        Pairs pairs;
        const char* at = basket.data;
        for (std::uint64_t i = 0; i < basket.records; ++i) {
            Record record;
            std::memcpy(&record, at, sizeof record);
            at += sizeof record;
            const Sizes sizes = Sizes::of(record.sizes);
            const auto text = [&](std::uint32_t part, std::uint64_t offset, std::uint32_t slot) {
                if (!treadle::map::is_large(part)) return std::string(at + offset, part);
                treadle::map::LargeName name;
                std::memcpy(&name, at + offset, sizeof name);
                const std::string large = read_large(name);
                drop(slot);
                return large;
            };
            const std::string form = text(sizes.form, sizes.form_at(), record.form_slot);
            pairs.emplace_back(form.empty() ? std::string(at, sizes.key) : form,
                               text(sizes.value, sizes.value_at(), record.value_slot));
            at += sizes.content();
        }
        CHECK_EQ(static_cast<std::uint64_t>(at - basket.data), basket.size);
        return pairs;
    }

private:
    State* state_ = nullptr;
    std::uint32_t slot_ = SharedHandles::kNoSlot;
};

}  // namespace shared_map
