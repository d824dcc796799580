// ordered/sorted_line.hpp: an ordered queue in a real arena, as the threads of a process use it. Items are those of
// ring/line.hpp; a key is a string of bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "ring/line.hpp"
#include "treadle/ordered/queue.hpp"

namespace sorted_line {

using namespace line;
using treadle::ordered::kFirstCapacity;
using treadle::ordered::Order;
using treadle::ordered::OrderedState;
using treadle::ordered::Record;
using treadle::ring::Taken;

using RealQueue = treadle::ordered::OrderedQueue<SharedWorld, Mapping>;

/// A number as a key: eight bytes, the highest first.
inline std::string key_of(std::uint64_t number) {
    std::string key(8, 0);
    for (int i = 0; i < 8; ++i) key[static_cast<std::size_t>(i)] = static_cast<char>(number >> (56 - 8 * i));
    return key;
}

/// Records, end to end.
class Records {
public:
    void add(const std::string& key, std::int32_t from, std::uint32_t number, std::uint32_t size) {
        fill(extend(key, Frame{size, FrameKind::bytes, 0, from, number}), from, number, size);
    }
    void add_message(const std::string& key, std::int32_t from, std::uint32_t number, MessagePayload payload) {
        std::memcpy(extend(key, Frame{sizeof payload, FrameKind::message, 0, from, number}), &payload, sizeof payload);
    }
    void drop(const Taken& accepted) {
        begin_ += accepted.bytes;
        count_ -= accepted.items;
    }
    const char* data() const { return reinterpret_cast<const char*>(words_.data()) + begin_; }
    std::uint32_t count() const { return count_; }

private:
    char* extend(const std::string& key, const Frame& frame) {
        const std::size_t at = words_.size();
        const auto key_bytes = static_cast<std::uint32_t>(key.size());
        words_.resize(at + (sizeof(Record) + padded(key_bytes) + frame_bytes(frame.size)) / 8);
        char* to = reinterpret_cast<char*>(&words_[at]);
        const Record record{key_bytes, 0};
        std::memcpy(to, &record, sizeof record);
        std::memcpy(to + sizeof record, key.data(), key.size());
        to += sizeof record + padded(key_bytes);
        std::memcpy(to, &frame, sizeof frame);
        ++count_;
        return to + sizeof frame;
    }
    std::vector<std::uint64_t> words_;
    std::size_t begin_ = 0;
    std::uint32_t count_ = 0;
};

class SortedLine {
public:
    explicit SortedLine(Order order = Order::by_key, std::uint64_t max_items = 0, std::uint64_t max_bytes = 0) {
        inside([&] {
            state_ = RealQueue::make(tree(), order, max_items, max_bytes);
            if (state_ != nullptr) slot_ = tree().handles.add(tree().arena, tree().process, &state_->block);
        });
        REQUIRE(state_ != nullptr && slot_ != SharedHandles::kNoSlot);
    }
    SortedLine(const SortedLine&) = delete;
    ~SortedLine() {
        inside([&] { tree().handles.drop(tree().arena, tree().process, slot_); });
    }

    RealQueue queue() const { return RealQueue(state_, tree()); }
    OrderedState<SharedWorld>& state() const { return *state_; }

    Result put(Records& records, std::int64_t slice = kPatience) const {
        while (records.count() != 0) {
            Taken accepted;
            const Result result = threads::insist<SharedWorld>(
                self(),
                [&](auto& who, Wait& wait) { return queue().attempt_put(who, records.data(), records.count(), accepted, wait); },
                Result::full, slice);
            if (result != Result::done) return result;
            CHECK(accepted.items != 0);
            records.drop(accepted);
        }
        return Result::done;
    }
    Result put(const std::string& key, std::int32_t from, std::uint32_t number, std::uint32_t size = 20) const {
        Records records;
        records.add(key, from, number, size);
        return put(records);
    }
    /// One attempt, as put_nowait makes it.
    Result try_put(Records& records, Taken& accepted) const {
        Wait wait;
        wait.announce = false;
        auto who = self();
        return queue().attempt_put(who, records.data(), records.count(), accepted, wait);
    }
    Result try_put(const std::string& key, std::int32_t from, std::uint32_t number, std::uint32_t size = 20) const {
        Records records;
        records.add(key, from, number, size);
        Taken accepted;
        return try_put(records, accepted);
    }

    /// An item in a block of its own.
    Result put_message(const std::string& key, std::int32_t from, std::uint32_t number, std::uint64_t size) const {
        std::uint32_t slot;
        const MessagePayload payload = make_message(from, number, size, slot);
        if (slot == SharedHandles::kNoSlot) return Result::no_memory;
        Records records;
        records.add_message(key, from, number, payload);
        const Result result = put(records);
        release(slot);
        return result;
    }

    Result get(std::vector<Item>& items, Basket& basket, std::uint32_t most = 1, std::uint32_t room = Basket::kRoom,
               std::int64_t slice = kPatience) const {
        Taken got;
        const Result result = threads::insist<SharedWorld>(
            self(), [&](auto& who, Wait& wait) { return queue().attempt_get(who, most, basket.data(), room, got, wait); },
            Result::empty, slice);
        if (result == Result::done) unpack(basket.data(), got, items);
        return result;
    }
    Item take(Basket& basket) const {
        std::vector<Item> items;
        CHECK_EQ(get(items, basket), Result::done);
        REQUIRE(items.size() == 1u);
        CHECK(items[0].intact);
        return items[0];
    }
    Result try_get(Item& item, Basket& basket) const {
        Wait wait;
        wait.announce = false;
        auto who = self();
        Taken got;
        const Result result = queue().attempt_get(who, 1, basket.data(), Basket::kRoom, got, wait);
        std::vector<Item> items;
        if (result == Result::done) unpack(basket.data(), got, items), item = items.at(0);
        return result;
    }

    Result lease(Item& item, LeaseName& name, Basket& basket, std::int64_t slice = kPatience) const {
        Taken got;
        const Result result = threads::insist<SharedWorld>(
            self(), [&](auto& who, Wait& wait) { return queue().attempt_lease(who, basket.data(), name, got, wait); },
            Result::empty, slice);
        std::vector<Item> items;
        if (result == Result::done) unpack(basket.data(), got, items), item = items.at(0);
        return result;
    }
    /// `look`: ask whether the holders of leases live.
    Result try_lease(Item& item, LeaseName& name, Basket& basket, bool look = false) const {
        Wait wait;
        wait.announce = false;
        auto who = self();
        who.look = look;
        Taken got;
        const Result result = queue().attempt_lease(who, basket.data(), name, got, wait);
        std::vector<Item> items;
        if (result == Result::done) unpack(basket.data(), got, items), item = items.at(0);
        return result;
    }
    Result ack(LeaseName name) const {
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return queue().attempt_ack(who, name, wait); });
    }
    Result nack(LeaseName name) const {
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return queue().attempt_nack(who, name, wait); });
    }
    Result done(std::uint64_t count) const {
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return queue().attempt_done(who, count, wait); });
    }
    Result join(std::int64_t slice = kPatience) const {
        return threads::insist<SharedWorld>(
            self(), [&](auto& who, Wait& wait) { return queue().attempt_join(who, wait); }, Result::empty, slice);
    }
    bool would_join() const {
        Wait wait;
        wait.announce = false;
        auto who = self();
        return queue().attempt_join(who, wait) == Result::done;
    }
    void shut_down(QueueMode mode) const {
        threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return queue().attempt_shut_down(who, mode, wait); });
    }
    Result discard() const {
        return threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) { return queue().attempt_discard(who, wait); });
    }

private:
    OrderedState<SharedWorld>* state_ = nullptr;
    std::uint32_t slot_ = SharedHandles::kNoSlot;
};

}  // namespace sorted_line
