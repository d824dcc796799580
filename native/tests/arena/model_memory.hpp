// arena/model_memory.hpp: an arena of model atomics, made anew for each execution at the same addresses, with a process
// and a thread for each fiber.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <ostream>
#include <sys/mman.h>

#include "schedule/schedule.hpp"
#include "treadle/arena/arena.hpp"
#include "treadle/arena/handles.hpp"
#include "word/caller.hpp"

namespace modelled {

using namespace treadle::arena;
using schedule::Model;
using treadle::word::Result;
using treadle::word::Token;
using treadle::word::Wait;

// The clock of this world stands still: what is done now and then is done when a caller looks.
struct StillWorld : Model {
    static std::int64_t now_coarse() noexcept { return 0; }
};

// Memory that is always there; what was promised is zeroed before the next arena.
class Memory {
public:
    static Memory& fresh() {
        static Memory memory;
        for (std::uint32_t i = 0; i < memory.used_; ++i) std::memset(memory.base_ + memory.ranges_[i].at, 0, memory.ranges_[i].bytes);
        memory.used_ = memory.mortals = 0;
        memory.locked_ = kNoRecord;
        for (auto& holder : memory.holders_) holder.store(0);
        return memory;
    }
    char* base() const noexcept { return base_; }

    bool back(Offset at, std::uint64_t bytes) noexcept {
        if (used_ == ranges_.size()) std::abort();
        ranges_[used_++] = {at, bytes};
        return true;
    }
    void unback(Offset at, std::uint64_t bytes) noexcept { std::memset(base_ + at, 0, bytes); }
    // Fiber i has the pid i + 1; the other processes outlive the execution.
    bool alive(std::int32_t pid, std::uint64_t) const noexcept {
        return static_cast<std::uint32_t>(pid) > mortals || Model::alive(static_cast<std::uint32_t>(pid) - 1);
    }
    bool boot_alive(std::int32_t, std::uint64_t) const noexcept { return true; }

    // The byte that the parent of a fork holds until it has forked, and its child, once there is one, until it lives.
    void lock_byte(std::uint32_t record, std::uint32_t parent) noexcept {
        locked_ = record;
        holders_[0].store(parent + 1);
        holders_[1].store(0);
    }
    void hand_to(std::uint32_t child) noexcept {
        holders_[1].store(child + 1);
        Model::wake(&holders_[1], 1);
    }
    Model::Outcome await_handing() const noexcept { return Model::wait(&holders_[1], 0); }
    bool handed_to(std::uint32_t child) const noexcept { return holders_[1].load() == child + 1; }
    void let_go(bool child) noexcept { holders_[child].store(0); }
    bool pending(std::uint32_t record) const noexcept {
        if (record != locked_) return true;
        for (const auto& holder : holders_)
            if (const std::uint32_t fiber = holder.load(); fiber != 0 && Model::alive(fiber - 1)) return true;
        return false;
    }

    std::uint32_t mortals = 0;  // fibers that may be killed are among the first so many

private:
    Memory() {
        void* at = mmap(nullptr, kCapacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) std::abort();
        base_ = static_cast<char*>(at);
    }
    struct Range {
        Offset at;
        std::uint64_t bytes;
    };
    char* base_;
    std::array<Range, 64> ranges_;
    std::uint32_t used_ = 0;
    std::uint32_t locked_ = kNoRecord;
    std::array<Model::Atom<std::uint32_t>, 2> holders_;
};

using ModelArena = Arena<StillWorld, Memory>;
using ModelBlock = Block<StillWorld>;

// A process of the model: what arena/mapping.hpp is to a real one.
struct Member {
    ModelArena& arena;
    Handles<StillWorld, Memory> handles;
    std::uint32_t process;
    Token token;

    Member(ModelArena& place, std::int32_t pid) : arena(place) {
        process = arena.registry.add_process(ProcessState::live, pid, 1, -1);
        token = arena.registry.add_participant(process, kNoRecord, pid, pid, "fiber");
    }
};

inline constexpr std::uint32_t kMembers = 5;

// Fiber i is member i; the last member is the test itself, before and after run().
class Place {
public:
    explicit Place(std::uint64_t limit_units = 64) : arena_(memory_.base(), memory_) {
        const std::uint64_t identity[2] = {1, 2};
        if (!arena_.format(limit_units * kUnit, identity, 1, 1, 1, -1)) std::abort();
        for (std::uint32_t i = 0; i < kMembers; ++i) members_[i].emplace(arena_, static_cast<std::int32_t>(i) + 1);
    }
    Place(const Place&) = delete;

    ModelArena& arena() { return arena_; }
    Memory& memory() { return memory_; }
    Member& member(std::uint32_t index) { return *members_[index]; }
    Member& self() { return *members_[Model::self() == schedule::Execution::no_fiber ? kMembers - 1 : Model::self()]; }
    std::uint32_t fiber_of(Token token) const {
        for (std::uint32_t i = 0; i < kMembers; ++i)
            if (members_[i]->token == token) return i;
        std::abort();
    }

private:
    Memory& memory_ = Memory::fresh();
    ModelArena arena_;
    std::array<std::optional<Member>, kMembers> members_;
};

struct Caller {
    Place& place;
    Token token = place.self().token;
    bool look = false;
    bool alive(Token other) const {
        const std::uint32_t fiber = place.fiber_of(other);
        return fiber == kMembers - 1 || Model::alive(fiber);
    }
};

/// Attempts until the machine says something else than `blocked` or than `waiting`, its word for "not yet". At a gate it
/// parks; at an internal section, where parks are short by design, it comes again once somebody else has done something.
template <class Attempt>
Result insist(Caller who, Attempt attempt, Result waiting = Result::blocked) {
    for (Wait wait;;) {
        const Result result = attempt(who, wait);
        if (result != Result::blocked && result != waiting) return result;
        if (wait.section) {
            Model::pause();
            who.look = true;
        } else {
            who.look = Model::wait(wait.word, wait.expected, 0, wait.bits) == Model::Outcome::timeout;
        }
    }
}

}  // namespace modelled
