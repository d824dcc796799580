// crash/queue_items.hpp: items of a queue whose users are killed: they can be recognised, and what is found of them told.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "crash/arena_fixture.hpp"
#include "treadle/ring/layout.hpp"

namespace arena_crash {

using namespace treadle::ring;
using treadle::ring::Chunk;  // not the arena's
using MessageT = Message<SharedWorld>;

inline constexpr std::uint32_t kRoom = 2 * frame_bytes(kLargestFrame);
inline constexpr std::uint32_t kInline = 40, kThird = 1000;  // bytes; three of the latter nearly fill a ring's first chunk
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

// --- For setups

inline void require(Result result) {
    if (result != Result::done) give_up("a setup's operation failed");
}

inline void found_absent_phantom() {
    phantom = std::make_unique<Keeper>(static_cast<char*>(step_kill::memory().base()), step_kill::memory().fd());
    phantom->process = kNoRecord;
}
// From now on it lives for everybody but those who look: its record bears a wrong start time.
inline void found_phantom() {
    phantom->process = ghost_process();
    phantom->token = ghost_of(phantom->process);
}

inline void drop_slot(Keeper& member, std::uint32_t slot) {
    if (slot == SharedHandles::kNoSlot) return;
    in_section(member.arena, keeper->caller(), [&] { member.handles.drop(member.arena, member.process, slot); });
}

// --- For victims and survivors

inline char victims_frames[8 * frame_bytes(kLargestFrame)], victims_room[kRoom];
inline std::uint32_t victims_slot = SharedHandles::kNoSlot;
inline LeaseName victims_lease;

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

struct Item {
    std::uint32_t value;
    std::uint32_t deliveries;
};
struct Found {
    std::vector<Item> items;
    std::uint64_t puts, done;  // before the survivor did anything that counts
    QueueMode mode;
    std::uint64_t size = 0;  // before the survivor entered a section

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
inline std::string read_item(const char* out, const Taken& got, std::vector<Item>& items) {
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

}  // namespace arena_crash
