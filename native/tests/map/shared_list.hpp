// map/shared_list.hpp: a list in a real arena, as the threads of a process use it. Values are strings.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "map/shared_map.hpp"
#include "treadle/map/list.hpp"
#include "treadle/map/plain_cells.hpp"

namespace shared_list {

using namespace shared_map;
using treadle::map::Cell;
using treadle::map::CopiedItem;
using treadle::map::FoundItem;
using treadle::map::Item;
using treadle::map::ItemBasket;
using treadle::map::kAll;
using treadle::map::kAtTheEnd;
using treadle::map::ListCondition;
using treadle::map::ListFigures;
using treadle::map::Slice;

using RealList = treadle::map::List<SharedWorld, Mapping>;
using ListState = RealList::State;
using Strings = std::vector<std::string>;

/// Items for as many strings, which outlive them, and this process's references to the messages among them.
class Items {
public:
    explicit Items(const Strings& strings) {
        for (const std::string& text : strings) {
            Item item;
            item.plain = treadle::map::cell_of(text.data(), static_cast<std::uint32_t>(text.size()));
            item.part = Part{text.data(), text.size(), 0};
            if (text.size() > kLargestPart) {
                slots_.push_back(SharedHandles::kNoSlot);
                item.part = Part{nullptr, text.size(), make_large(text, slots_.back())};
                complete_ = complete_ && item.part.large != 0;
            }
            items_.push_back(item);
        }
    }
    Items(const Items&) = delete;
    ~Items() {
        for (const std::uint32_t slot : slots_) drop(slot);
    }
    bool complete() const { return complete_; }
    const Item* data() const { return items_.data(); }
    std::uint64_t size() const { return items_.size(); }

private:
    std::vector<Item> items_;
    std::vector<std::uint32_t> slots_;
    bool complete_ = true;
};

class SharedList {
public:
    SharedList() {
        inside([&] {
            state_ = RealList::make(tree());
            if (state_ != nullptr) slot_ = tree().handles.add(tree().arena, tree().process, &state_->block);
        });
        REQUIRE(state_ != nullptr && slot_ != SharedHandles::kNoSlot);
    }
    SharedList(const SharedList&) = delete;
    ~SharedList() { drop(slot_); }

    RealList list() const { return RealList(state_, tree()); }
    ListState& state() const { return *state_; }
    template <class Attempt>
    static Result operate(Attempt attempt) {
        return threads::insist<SharedWorld>(self(), attempt);
    }

    Result replace(const Slice& slice, const Strings& strings, ListCondition condition = {}, std::uint64_t* replaced = nullptr) const {
        const Items items(strings);
        if (!items.complete()) return Result::no_memory;
        std::uint64_t had = 0;
        const Result result = operate([&](auto& who, Wait& wait) {
            return list().attempt_replace(who, slice, items.data(), items.size(), condition, had, wait);
        });
        if (replaced != nullptr) *replaced = had;
        return result;
    }
    Result append(const std::string& text) const { return replace(kAtTheEnd, {text}); }
    Result remove(const Slice& slice, ListCondition condition = {}) const {
        const Result result = operate([&](auto& who, Wait& wait) { return list().attempt_remove(who, slice, condition, wait); });
        while (operate([&](auto& who, Wait& wait) { return list().attempt_free_waste(who, wait); }) == Result::done) {
        }
        return result;
    }
    Result set(std::int64_t index, const std::string& text, ListCondition condition = {}) const {
        const Strings strings{text};
        const Items items(strings);
        if (!items.complete()) return Result::no_memory;
        return operate([&](auto& who, Wait& wait) { return list().attempt_set(who, index, items.data(), condition, wait); });
    }
    Result take(std::int64_t index, ListCondition condition = {}) const {
        return operate([&](auto& who, Wait& wait) { return list().attempt_set(who, index, nullptr, condition, wait); });
    }
    std::optional<std::string> get(std::int64_t index, FoundItem* which = nullptr) const {
        char out[kLargestPart];
        FoundItem found;
        const Result result = operate([&](auto& who, Wait& wait) { return list().attempt_find(who, index, out, found, wait); });
        if (which != nullptr) *which = found;
        if (result == Result::empty) return std::nullopt;
        CHECK_EQ(result, Result::done);
        return text_of(found, out);
    }
    Result pop(std::int64_t index, std::string& text, bool simple = true) const {
        char out[kLargestPart];
        FoundItem found;
        const Result result = operate([&](auto& who, Wait& wait) {
            return list().attempt_pop(who, index, out, found, [=](const char*) { return simple; }, wait);
        });
        if (result == Result::done) text = text_of(found, out);
        return result;
    }
    /// The item is an integer; adds to it. Anything else is not wanted.
    Result add(std::int64_t index, std::int64_t n) const {
        Item item;
        return operate([&](auto& who, Wait& wait) {
            return list().attempt_alter(who, index, item, [n](Cell cell, const char*, std::uint64_t, Item& to) {
                if ((cell & 1) == 0) return false;
                to = Item{treadle::map::cell_of(treadle::map::integer_in(cell) + n), {}};
                return true;
            }, wait);
        });
    }
    Result set_number(std::int64_t index, std::int64_t n) const {
        const Item item{treadle::map::cell_of(n), {}};
        return operate([&](auto& who, Wait& wait) { return list().attempt_set(who, index, &item, {}, wait); });
    }
    template <class Order>
    Result arrange(Order order, ListCondition condition = {}) const {
        return operate([&](auto& who, Wait& wait) { return list().attempt_arrange(who, order, condition, wait); });
    }
    Result reverse() const {
        return arrange([](std::uint64_t i, std::uint64_t length) { return length - 1 - i; });
    }
    std::uint64_t count() const {
        std::uint64_t count = 0;
        operate([&](auto& who, Wait& wait) { return list().attempt_count(who, count, wait); });
        return count;
    }
    ListFigures figures() const { return list().figures(); }
    Strings strings(const Slice& slice = kAll, std::uint64_t* version = nullptr) const {
        std::vector<std::uint64_t> room(8);
        ItemBasket basket;
        Result result = Result::no_room;
        while (result == Result::no_room) {
            room.resize(room.size() + basket.needed / 8);
            basket.data = reinterpret_cast<char*>(room.data());
            basket.room = room.size() * 8;
            result = operate([&](auto& who, Wait& wait) { return list().attempt_copy(who, slice, basket, wait); });
        }
        CHECK_EQ(result, Result::done);
        CHECK(basket.size <= basket.needed);
        if (version != nullptr) *version = basket.version;
        Strings strings;
        const char* at = basket.data;
        for (std::uint64_t i = 0; i < basket.items; ++i) {
            FoundItem found;
            std::memcpy(&found.cell, at, 8);
            at += 8;
            if (!treadle::map::is_plain(found.cell)) {
                CopiedItem item;
                std::memcpy(&item, at, sizeof item);
                at += sizeof item;
                found = FoundItem{found.cell, item.value, item.bytes, item.slot};
            }
            strings.push_back(text_of(found, at));
            at += treadle::map::padded(found.bytes);
        }
        CHECK_EQ(static_cast<std::uint64_t>(at - basket.data), basket.size);
        return strings;
    }

    static std::string text_of(const FoundItem& found, const char* bytes) {
        if (treadle::map::is_plain(found.cell)) {
            char text[8];
            if (treadle::map::plain_kind(found.cell) == treadle::map::PlainKind::integer)
                return std::to_string(treadle::map::integer_in(found.cell));
            return std::string(text, treadle::map::bytes_in(found.cell, text));
        }
        if (found.slot == treadle::map::kNoSlot) return std::string(bytes, found.bytes);
        const auto* block = tree().arena.heap.block_at(treadle::arena::offset_of(found.value));
        const std::string text(reinterpret_cast<const char*>(block) + kLargeHead, block->bytes - kLargeHead);
        drop(found.slot);
        return text;
    }

private:
    ListState* state_ = nullptr;
    std::uint32_t slot_ = SharedHandles::kNoSlot;
};

}  // namespace shared_list
