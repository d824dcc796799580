// ring/line.hpp: a queue in a real arena, as the threads of a process use it.
//
// An item says who put it and as its how-manieth (the frame's `pid` and `tag`), and its bytes follow from both, so that a
// torn, lost, doubled or misplaced one is seen.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.hpp"
#include "crash/arena_books.hpp"
#include "threads.hpp"
#include "treadle/arena/mapping.hpp"
#include "treadle/ring/queue.hpp"

namespace line {

using namespace treadle::arena;
using namespace treadle::ring;
using treadle::word::Result;
using treadle::word::Token;
using treadle::word::Wait;
using threads::kPatience;

using RingQueue = Queue<SharedWorld, Mapping>;
using Taken = RingQueue::Taken;

inline Mapping& tree() {
    static Mapping* const mapping = [] {
        Mapping* made = Mapping::create(512u << 20);
        REQUIRE(made != nullptr);
        return made;
    }();
    return *mapping;
}

template <class Action>
void inside(Action action) {
    Mapping& mapping = tree();
    mapping.insist([&](auto& who, Wait& wait) {
        if (mapping.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        action();
        mapping.arena.leave();
        return Result::done;
    });
}

/// A caller for the calling thread, which is registered if it is not yet.
inline Mapping::Caller self() {
    if (tree().token() == treadle::word::kNobody) CHECK(tree().register_thread("test") != treadle::word::kNobody);
    return {tree().token(), false, &tree()};
}

/// Sweeps and audits the arena; returns how many blocks live.
inline std::uint64_t audited_blocks() {
    self();
    tree().sweep();
    arena_crash::Books books(tree().arena);
    const std::string wrong = books.check();
    CHECK(wrong.empty(), wrong);
    return books.live_blocks();
}

struct Item {
    std::int32_t from = 0;
    std::uint32_t number = 0;
    std::uint64_t size = 0;
    std::uint32_t deliveries = 0;
    bool intact = false;
};

inline char pattern(std::int32_t from, std::uint32_t number, std::uint64_t at) {
    return static_cast<char>(from * 31 + static_cast<std::int64_t>(number) * 7 + static_cast<std::int64_t>(at));
}
inline void fill(char* to, std::int32_t from, std::uint32_t number, std::uint64_t size) {
    for (std::uint64_t i = 0; i < size; ++i) to[i] = pattern(from, number, i);
}
inline bool is_intact(const char* data, std::int32_t from, std::uint32_t number, std::uint64_t size) {
    for (std::uint64_t i = 0; i < size; ++i)
        if (data[i] != pattern(from, number, i)) return false;
    return true;
}

/// Frames, end to end.
class Frames {
public:
    void add(std::int32_t from, std::uint32_t number, std::uint32_t size) {
        char* at = extend(Frame{size, FrameKind::bytes, 0, from, number}, size);
        fill(at, from, number, size);
    }
    void add_message(std::int32_t from, std::uint32_t number, MessagePayload payload) {
        std::memcpy(extend(Frame{sizeof payload, FrameKind::message, 0, from, number}, sizeof payload), &payload, sizeof payload);
    }
    void drop(std::uint32_t items, std::uint32_t bytes) {
        begin_ += bytes;
        count_ -= items;
    }
    const char* data() const { return words_.empty() ? nullptr : reinterpret_cast<const char*>(words_.data()) + begin_; }
    std::uint32_t count() const { return count_; }

private:
    char* extend(const Frame& frame, std::uint32_t size) {
        const std::size_t at = words_.size();
        words_.resize(at + frame_bytes(size) / 8);
        std::memcpy(&words_[at], &frame, sizeof frame);
        ++count_;
        return reinterpret_cast<char*>(&words_[at]) + sizeof frame;
    }
    std::vector<std::uint64_t> words_;
    std::size_t begin_ = 0;
    std::uint32_t count_ = 0;
};

/// Where frames are taken to.
class Basket {
public:
    static constexpr std::uint32_t kRoom = 64 * 1024;
    char* data() { return reinterpret_cast<char*>(words_.data()); }

private:
    std::vector<std::uint64_t> words_ = std::vector<std::uint64_t>(kRoom / 8);
};

inline void release(std::uint32_t slot) {
    inside([&] { tree().handles.drop(tree().arena, tree().process, slot); });
}
/// Reads what was taken; a message's reference is dropped.
inline void unpack(const char* at, const Taken& got, std::vector<Item>& items) {
    const char* const begin = at;
    for (std::uint32_t i = 0; i < got.items; ++i) {
        Frame frame;
        std::memcpy(&frame, at, sizeof frame);
        Item item{frame.pid, frame.tag, frame.size, frame.deliveries, false};
        if (frame.kind == FrameKind::message) {
            CHECK_EQ(got.items, 1u);
            MessagePayload payload;
            std::memcpy(&payload, at + sizeof frame, sizeof payload);
            auto* message = reinterpret_cast<Message<SharedWorld>*>(tree().arena.heap.block_at(offset_of(payload.message)));
            item.size = payload.bytes;
            item.intact = is_intact(message->data(), item.from, item.number, item.size);
            release(got.slot);
        } else {
            CHECK_EQ(got.slot, treadle::ring::kNoSlot);
            item.intact = is_intact(at + sizeof frame, item.from, item.number, item.size);
        }
        items.push_back(item);
        at += frame_bytes(frame.size);
    }
    CHECK_EQ(static_cast<std::uint64_t>(at - begin), got.bytes);
}

/// A message with an item's bytes, which this process refers to at `slot`; kNoSlot: the limit.
inline MessagePayload make_message(std::int32_t from, std::uint32_t number, std::uint64_t size, std::uint32_t& slot) {
    Message<SharedWorld>* message = nullptr;
    MessagePayload payload{0, size};
    slot = SharedHandles::kNoSlot;
    inside([&] {
        message = reinterpret_cast<Message<SharedWorld>*>(tree().arena.heap.allocate(sizeof *message + size, Kind::message));
        if (message == nullptr) return;
        slot = tree().handles.add(tree().arena, tree().process, &message->block);
        payload.message = tree().arena.heap.ref_to(&message->block);
    });
    if (slot != SharedHandles::kNoSlot) fill(message->data(), from, number, size);
    return payload;
}

class Line {
public:
    explicit Line(std::uint64_t max_items = 0, std::uint64_t max_bytes = 0) {
        inside([&] {
            state_ = RingQueue::make(tree(), max_items, max_bytes);
            if (state_ != nullptr) slot_ = tree().handles.add(tree().arena, tree().process, &state_->block);
        });
        REQUIRE(state_ != nullptr && slot_ != SharedHandles::kNoSlot);
    }
    Line(const Line&) = delete;
    ~Line() {
        inside([&] { tree().handles.drop(tree().arena, tree().process, slot_); });
    }

    RingQueue queue() const { return RingQueue(state_, tree()); }
    QueueState<SharedWorld>& state() const { return *state_; }

    /// Puts all frames; waits for room `slice` at a time, forever.
    Result put(Frames& frames, std::int64_t slice = kPatience) const {
        while (frames.count() != 0) {
            Taken accepted;
            const Result result = threads::insist<SharedWorld>(
                self(),
                [&](auto& who, Wait& wait) { return queue().attempt_put(who, frames.data(), frames.count(), accepted, wait); },
                Result::full, slice);
            if (result != Result::done) return result;
            CHECK(accepted.items != 0);
            frames.drop(accepted.items, accepted.bytes);
        }
        return Result::done;
    }
    Result put(std::int32_t from, std::uint32_t number, std::uint32_t size) const {
        Frames frames;
        frames.add(from, number, size);
        return put(frames);
    }
    /// One attempt, as put_nowait makes it.
    Result try_put(Frames& frames, Taken& accepted) const {
        Wait wait;
        wait.announce = false;
        auto who = self();
        return queue().attempt_put(who, frames.data(), frames.count(), accepted, wait);
    }
    Result try_put(std::int32_t from, std::uint32_t number, std::uint32_t size) const {
        Frames frames;
        frames.add(from, number, size);
        Taken accepted;
        return try_put(frames, accepted);
    }

    /// An item in a block of its own.
    Result put_message(std::int32_t from, std::uint32_t number, std::uint64_t size) const {
        std::uint32_t slot;
        const MessagePayload payload = make_message(from, number, size, slot);
        if (slot == SharedHandles::kNoSlot) return Result::no_memory;
        Frames frames;
        frames.add_message(from, number, payload);
        const Result result = put(frames);
        release(slot);
        return result;
    }

    /// Takes up to `most` items; waits for the first.
    Result get(std::vector<Item>& items, Basket& basket, std::uint32_t most = 1, std::uint32_t room = Basket::kRoom,
               std::int64_t slice = kPatience) const {
        Taken got;
        const Result result = threads::insist<SharedWorld>(
            self(), [&](auto& who, Wait& wait) { return queue().attempt_get(who, most, basket.data(), room, got, wait); },
            Result::empty, slice);
        if (result == Result::done) unpack(basket.data(), got, items);
        return result;
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
    Result discard(Basket& basket) const {
        Taken got;
        const Result result = threads::insist<SharedWorld>(
            self(), [&](auto& who, Wait& wait) { return queue().attempt_discard(who, basket.data(), got, wait); });
        if (result == Result::done && got.slot != RingQueue::kNoSlot) release(got.slot);
        return result;
    }

private:
    QueueState<SharedWorld>* state_ = nullptr;
    std::uint32_t slot_ = SharedHandles::kNoSlot;
};

}  // namespace line
