// crash/ring_fixture.hpp: a by-value queue whose users are killed: items that can be recognised, what the keeper and a
// victim do to the queue, and what a survivor finds in it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "crash/arena_fixture.hpp"
#include "treadle/ring/queue.hpp"

namespace arena_crash {

using namespace treadle::ring;
using treadle::ring::Chunk;  // not the arena's
using QueueOfKeeper = Queue<SharedWorld, Keeper>;
using QueueOfProcess = Queue<SharedWorld, Mapping>;
using State = QueueState<SharedWorld>;
using MessageT = Message<SharedWorld>;

inline constexpr std::uint32_t kRoom = 2 * frame_bytes(kLargestFrame);
inline constexpr std::uint32_t kInline = 40, kThird = 1000;  // bytes; three of the latter nearly fill the first chunk
inline constexpr std::uint64_t kMessage = 20'000;

inline std::unique_ptr<Keeper> phantom;  // a process that died with leases
inline std::uint64_t queue_blocks = 0;   // live ones when the queue is new and empty

// --- Items: the n-th is told by its tag and by every byte of it -------------------------------------------------------

inline unsigned char byte_of(std::uint32_t value, std::uint64_t i) noexcept {
    return static_cast<unsigned char>(value * 31 + i);
}
inline void fill_item(char* at, std::uint32_t value, std::uint64_t bytes) noexcept {
    for (std::uint64_t i = 0; i < bytes; ++i) at[i] = static_cast<char>(byte_of(value, i));
}
inline bool is_item(const char* at, std::uint32_t value, std::uint64_t bytes) noexcept {
    for (std::uint64_t i = 0; i < bytes; ++i)
        if (static_cast<unsigned char>(at[i]) != byte_of(value, i)) return false;
    return true;
}

// Writes an item's frame; returns its size.
inline std::uint32_t write_inline(char* out, std::uint32_t value, std::uint32_t bytes) noexcept {
    const Frame frame{bytes, FrameKind::bytes, 0, static_cast<std::int32_t>(getpid()), value};
    std::memcpy(out, &frame, sizeof frame);
    fill_item(out + sizeof frame, value, bytes);
    return frame_bytes(bytes);
}
template <class Member>
std::uint32_t write_message(Member& member, char* out, std::uint32_t value, std::uint64_t bytes, std::uint32_t& slot) {
    auto* message = reinterpret_cast<MessageT*>(member.arena.heap.allocate(sizeof(MessageT) + bytes, Kind::message));
    slot = member.handles.add(member.arena, member.process, &message->block);
    fill_item(message->data(), value, bytes);
    const Frame frame{sizeof(MessagePayload), FrameKind::message, 0, static_cast<std::int32_t>(getpid()), value};
    const MessagePayload payload{member.arena.heap.ref_to(&message->block), bytes};
    std::memcpy(out, &frame, sizeof frame);
    std::memcpy(out + sizeof frame, &payload, sizeof payload);
    return frame_bytes(frame.size);
}

// --- What the keeper and the phantom do in setups ---------------------------------------------------------------------

inline State* state() noexcept { return reinterpret_cast<State*>(object); }
inline QueueOfKeeper queue_of(Keeper& member) noexcept { return QueueOfKeeper(state(), member); }

inline void require(Result result) {
    if (result != Result::done) give_up("a setup's operation failed");
}

inline void found_queue(std::uint64_t max_items) {
    found_arena();
    object = &QueueOfKeeper::make(*keeper, max_items, 0)->block;
    object_slot = keeper->handles.add(keeper->arena, keeper->process, object);
    queue_blocks = keeper->arena.header().blocks.load();
    phantom = std::make_unique<Keeper>(static_cast<char*>(step_kill::memory().base()), step_kill::memory().fd());
    phantom->process = kNoRecord;
}
// From now on it lives for everybody but those who look: its record bears a wrong start time.
inline void found_phantom() {
    phantom->process = ghost_process();
    phantom->token = ghost_of(phantom->process);
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
inline void drop_slot(Keeper& member, std::uint32_t slot) {
    if (slot == SharedHandles::kNoSlot) return;
    in_section(member.arena, keeper->caller(), [&] { member.handles.drop(member.arena, member.process, slot); });
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

inline char victims_frames[8 * frame_bytes(kLargestFrame)], victims_room[kRoom];
inline std::uint32_t victims_slot = SharedHandles::kNoSlot;
inline LeaseName victims_lease;

inline QueueOfProcess own_queue() noexcept { return QueueOfProcess(reinterpret_cast<State*>(own(object)), *self); }

// Waits like the parking loop; a case that waits for ever is found by its watchdog.
template <class Attempt>
Result victim_does(bool look, Attempt&& attempt) noexcept {
    Mapping::Caller who = victim();
    who.look = look;
    Wait wait;
    Result result;
    do {
        result = attempt(who, wait);
    } while (result == Result::blocked);
    return result;
}
template <class Action>
void in_own_section(Action&& action) {
    self->insist([&](auto& who, Wait& wait) {
        if (self->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        action();
        self->arena.leave();
        return Result::done;
    });
}
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

struct Item {
    std::uint32_t value;
    std::uint32_t deliveries;
};
struct Found {
    std::vector<Item> items;
    std::uint64_t puts, done;  // before the survivor did anything that counts
    QueueMode mode;

    bool is(std::uint32_t first, std::uint32_t last) const noexcept {
        if (items.size() != last - first + 1) return false;
        for (std::size_t i = 0; i < items.size(); ++i)
            if (items[i].value != first + i) return false;
        return true;
    }
};

inline std::string list_of(const Found& found) {
    std::string text = "found";
    for (const Item& item : found.items) text += " " + std::to_string(item.value);
    return text;
}

// One item from `out`; "" or what is wrong with it.
inline std::string read_item(const char* out, const QueueOfProcess::Taken& got, std::vector<Item>& items) {
    Frame frame;
    std::memcpy(&frame, out, sizeof frame);
    CRASH_REQUIRE(got.items == 1 && got.bytes == frame_bytes(frame.size));
    if (frame.kind == FrameKind::message) {
        MessagePayload payload;
        std::memcpy(&payload, out + sizeof frame, sizeof payload);
        auto* message = reinterpret_cast<MessageT*>(self->arena.heap.resolve(payload.message));
        CRASH_REQUIRE(message != nullptr, "the message of item %u is gone", frame.tag);
        CRASH_REQUIRE(got.slot != SharedHandles::kNoSlot && message->block.refs.load() != 0);
        CRASH_REQUIRE(payload.bytes == kMessage && is_item(message->data(), frame.tag, kMessage), "item %u", frame.tag);
        in_section(self->arena, keeper->caller(), [&] { self->handles.drop(self->arena, self->process, got.slot); });
    } else {
        CRASH_REQUIRE(frame.kind == FrameKind::bytes && got.slot == SharedHandles::kNoSlot);
        CRASH_REQUIRE(is_item(out + sizeof frame, frame.tag, frame.size), "item %u", frame.tag);
    }
    items.push_back({frame.tag, frame.deliveries});
    return "";
}

inline Mapping::Caller survivor() noexcept { return {self->token(), true, self}; }

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
