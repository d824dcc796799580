// crash/arena_fixture.hpp: an arena in a crash case's shared memory: who founds it, who dies in it, who looks after it.
//
//     keeper     the harness's own process, the arena's first. It makes the objects of a case and stays alive.
//     victim     attaches as any process does (`join`), works on the objects, and is killed.
//     survivor   the verifier's process. It acts as itself (`join`) or with the keeper's eyes (`keeper->caller()`), always
//                looking whether the others live, so that nothing may block it.
//     ghost      a process record whose pid has been given to another process since: dead from the start.
//
// Offsets in `object` and the keeper's own memory are inherited by fork.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <string>
#include <unistd.h>

#include "arena_books.hpp"
#include "step_kill.hpp"
#include "treadle/arena/mapping.hpp"

namespace arena_crash {

using step_kill::Crash;
using treadle::platform::SharedWorld;
using treadle::word::kNobody;
using treadle::word::Result;
using treadle::word::Token;
using treadle::word::Wait;

using Memory = Header<SharedWorld>;
using Case = step_kill::Case<Memory>;

// A process in the arena without a Mapping: it is not in the list that fork works through.
class Keeper {
public:
    Keeper(char* base, int fd) noexcept : system(fd), arena(base, system) {}

    struct Caller {
        Token token;
        bool look;
        Keeper* keeper;
        bool alive(Token other) const noexcept { return keeper->arena.registry.alive(other); }
    };
    Caller caller() noexcept { return {token, true, this}; }

    RealSystem system;
    SharedArena arena;
    SharedHandles handles;
    std::uint32_t process = kNoRecord;
    Token token = kNobody;
};

inline std::unique_ptr<Keeper> keeper;
inline Mapping* self = nullptr;           // of a victim or survivor, once it has joined
inline SharedBlock* object = nullptr;     // of the case, at the keeper's address
inline std::uint32_t object_slot = 0;     // the keeper's reference to it
inline std::uint64_t founding_blocks = 0; // before the case made anything
inline std::uint32_t tracked_units = 0;

[[noreturn]] inline void give_up(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

// As in production a caller waits, and looks after a while. Here nobody else lives who could be waited for.
template <class Who, class Attempt>
Result at_once(Who who, Attempt&& attempt) noexcept {
    Wait wait;
    for (int i = 0; i < 4; ++i) {
        const Result result = attempt(who, wait);
        if (result != Result::blocked) return result;
    }
    return Result::blocked;
}

template <class Action>
void in_section(SharedArena& arena, Keeper::Caller who, Action&& action) {
    if (at_once(who, [&](auto& w, Wait& wait) { return arena.enter(w, wait); }) != Result::done)
        give_up("the arena's section is not to be had");
    action();
    arena.leave();
}

// --- For setups ------------------------------------------------------------------------------------------------------

inline void found_arena(std::uint64_t limit_units = 256) {
    self = nullptr;
    object = nullptr;
    keeper = std::make_unique<Keeper>(static_cast<char*>(step_kill::memory().base()), step_kill::memory().fd());
    RealSystem& system = keeper->system;
    const std::uint64_t identity[2] = {0x1234, 0x5678};
    Registry<SharedWorld, RealSystem>& registry = keeper->arena.registry;
    if (!keeper->arena.format(limit_units * kUnit, identity, treadle::platform::namespaces(), system.pid,
                              system.birth, system.fd))
        give_up("no memory for an arena");
    keeper->process = registry.add_process(ProcessState::live, system.pid, system.birth, system.fd);
    keeper->token = registry.add_participant(keeper->process, kNoRecord, system.pid, system.pid, "keeper");
    founding_blocks = keeper->arena.header().blocks.load();
}

// The keeper makes a block and refers to it; `slot` receives its reference.
inline SharedBlock* keep(std::uint64_t bytes, Kind kind, std::uint32_t& slot, SharedBlock* owner = nullptr) {
    SharedBlock* block = keeper->arena.heap.allocate(bytes, kind, owner);
    slot = block == nullptr ? SharedHandles::kNoSlot : keeper->handles.add(keeper->arena, keeper->process, block);
    if (slot == SharedHandles::kNoSlot) give_up("no memory for a block");
    return block;
}

// The case's object: a block with a zeroed body. It is one that is dropped in the end.
inline void keep_object(std::uint64_t body_bytes, Kind kind) {
    object = keep(kBlockHeader + body_bytes, kind, object_slot);
    std::memset(static_cast<void*>(object + 1), 0, body_bytes);
}

inline std::uint32_t ghost_process() {
    const RealSystem& system = keeper->system;
    return keeper->arena.registry.add_process(ProcessState::live, system.pid, system.birth + 1, system.fd);
}
inline Token ghost_of(std::uint32_t process) {
    return keeper->arena.registry.add_participant(process, kNoRecord, keeper->system.pid, 1, "ghost");
}
inline Token ghost() { return ghost_of(ghost_process()); }

// Ends a setup: what the arena has in use counts as shared memory, and some units that victims may yet take. `headers`:
// of each unit only where headers lie or soon will (two blocks of 32 KiB begin in one), which is cheaper
// to watch; the content of large blocks is then not restored.
enum class Track { all, headers };
inline void track_arena(std::uint32_t spare_units, Track what = Track::all) {
    static_assert(kFirstUnit % 2 == 1);  // entries are 32 bytes, lines 64
    char* base = static_cast<char*>(step_kill::memory().base());
    const auto* runs = reinterpret_cast<const Run<SharedWorld>*>(base + kRunsAt);
    const std::uint32_t top = keeper->arena.header().top.load();
    tracked_units = top - kFirstUnit + spare_units;
    step_kill::memory().track(base + kRunsAt + (kFirstUnit - 1) * sizeof *runs, (tracked_units + 1) * sizeof *runs);
    if (what == Track::all) return step_kill::memory().track(base + kHeapAt, tracked_units * kUnit);
    for (std::uint32_t unit = kFirstUnit; unit < kFirstUnit + tracked_units; ++unit) {
        char* at = base + Offset{unit} * kUnit;
        const std::uint64_t head = unit < top ? runs[unit].head.load() : 0;
        const Offset carved = static_cast<RunState>(head & 0xff) == RunState::small
                                  ? Offset{runs[unit].carved.load()} * kSlotBytes[(head >> 8) & 0xff]
                                  : 0;
        const Offset end = std::min(kUnit, carved + 16 * 1024);
        step_kill::memory().track(at, std::min(kUnit / 2, end));
        step_kill::memory().track(at + kUnit / 2, end > kUnit / 2 ? end - kUnit / 2 : 4096);
    }
}

// --- For victims and survivors ----------------------------------------------------------------------------------------

inline Mapping* attach() noexcept {
    AttachError error;
    return Mapping::attach(fcntl(step_kill::memory().fd(), F_DUPFD_CLOEXEC, 0), error);
}

inline void join(const char* name) {
    if (keeper->arena.header().top.load() > kFirstUnit + tracked_units) give_up("the case needs more spare units");
    self = attach();
    if (self == nullptr || self->register_thread(name) == kNobody) give_up("cannot join the arena");
}

inline Mapping::Caller victim() noexcept { return {self->token(), false, self}; }

// The case's object as the process sees it that has joined.
inline SharedBlock* own(const SharedBlock* block) noexcept {
    return self->arena.heap.block_at(keeper->arena.heap.offset_of_block(block));
}
template <class Body>
Body& body_of(SharedBlock* block) noexcept {
    return *reinterpret_cast<Body*>(block + 1);
}

// The survivor has joined; the dead are swept, the books are right and stay as they are when they are computed anew, and
// `blocks` blocks live beside the survivor's own table of references.
inline std::string arena_is_sound(std::uint64_t blocks) {
    self->sweep();
    CRASH_REQUIRE(self->arena.registry.find_dead(self->process) == kNoRecord, "a dead process is left");
    const Memory& h = self->arena.header();
    CRASH_REQUIRE((h.mutex.peek() & treadle::word::Mutex<SharedWorld>::kHeld) == 0, "the section is held");
    Books books(self->arena);
    if (const std::string wrong = books.check(); !wrong.empty()) return wrong;
    CRASH_REQUIRE(books.live_blocks() == blocks + 1, "%llu live blocks, not %llu",
                  static_cast<unsigned long long>(books.live_blocks()), static_cast<unsigned long long>(blocks + 1));
    const std::uint64_t used = h.used_units.load(), backed = h.backed_units.load();
    in_section(self->arena, keeper->caller(), [] {
        self->arena.rebuild();
    });
    Books again(self->arena);
    if (const std::string wrong = again.check(); !wrong.empty()) return "after a rebuild: " + wrong;
    CRASH_REQUIRE(again.live_blocks() == books.live_blocks() && h.backed_units.load() == backed);
    CRASH_REQUIRE(h.used_units.load() == used - books.idle_units(), "%llu units before, %llu after, %llu idle",
                  static_cast<unsigned long long>(used), static_cast<unsigned long long>(h.used_units.load()),
                  static_cast<unsigned long long>(books.idle_units()));
    return "";
}

// The same once the keeper has dropped the object: nothing of the case is left.
inline std::string nothing_is_left(std::uint64_t kept = 0) {
    in_section(keeper->arena, keeper->caller(),
               [] { keeper->handles.drop(keeper->arena, keeper->process, object_slot); });
    return arena_is_sound(founding_blocks + kept);
}

// A program's main.
inline int run(step_kill::Suite& suite, int argc, char** argv) {
    Mapping::install();
    return suite.run(argc, argv);
}

inline Case arena_case(const char* name) {
    Case subject;
    subject.name = name;
    subject.file_bytes = kCapacity;
    return subject;
}

}  // namespace arena_crash
