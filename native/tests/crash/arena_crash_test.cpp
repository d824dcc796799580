// The arena under death at every instruction: blocks made and dropped, processes that come, fork and are swept, and the
// computation of the books itself.
#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <pthread.h>
#include <string>
#include <sys/stat.h>

#include "check.hpp"
#include "crash/arena_fixture.hpp"

namespace {

// What Mapping::install hands to the system. Under the stepper no process may be forked, so the cases call these as fork
// would; and no fork of the harness runs them.
struct {
    void (*before)();
    void (*in_parent)();
    void (*in_child)();
} fork_handlers;

}  // namespace

extern "C" int pthread_atfork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept {
    fork_handlers = {before, in_parent, in_child};
    return 0;
}

namespace arena_crash {
namespace {

template <class Action>
void as_victim(Action&& action) {
    self->insist([&](auto& who, Wait& wait) {
        if (self->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        action(self->arena);
        self->arena.leave();
        return Result::done;
    });
}

// Content by which a block is known to be untouched.
void fill(SharedBlock* block, std::uint64_t bytes, unsigned char value) {
    std::memset(static_cast<void*>(block + 1), value, bytes - kBlockHeader);
}
bool is_filled(SharedBlock* block, std::uint64_t bytes, unsigned char value) {
    const auto* at = reinterpret_cast<const unsigned char*>(block + 1);
    for (std::uint64_t i = 0; i < bytes - kBlockHeader; ++i)
        if (at[i] != value) return false;
    return true;
}

// Blocks of the keeper's, which must outlive every death of the case.
struct Kept {
    SharedBlock* block;
    std::uint32_t slot;
    std::uint64_t bytes;
};
std::array<Kept, 64> kept;
std::size_t kept_count;
std::uint64_t kept_blocks;  // of the case, that stay after its operation: the above, tables, records

SharedBlock* keep_filled(std::uint64_t bytes, SharedBlock* owner = nullptr) {
    Kept& k = kept[kept_count++];
    k.bytes = bytes;
    k.block = keep(bytes, Kind::none, k.slot, owner);
    fill(k.block, bytes, static_cast<unsigned char>(kept_count));
    return k.block;
}
void drop_kept(std::size_t index) {
    keeper->handles.drop(keeper->arena, keeper->process, kept[index].slot);
    kept[index].block = nullptr;
}

std::string kept_are_untouched() {
    for (std::size_t i = 0; i < kept_count; ++i)
        CRASH_REQUIRE(kept[i].block == nullptr || is_filled(kept[i].block, kept[i].bytes, static_cast<unsigned char>(i + 1)),
                      "block %zu", i);
    return "";
}

void (*const nothing)() = [] {};

// `set_up` runs in the arena of the keeper; what it leaves there must be there at the end, but for what the operation is
// to drop: `set_up` counts that in `going`.
std::uint64_t going;

Case make_case(const char* name, void (*set_up)(), void (*prepare)(), void (*operation)(),
               std::uint32_t spare_units = 4, Track what = Track::headers) {
    Case subject = arena_case(name);
    subject.setup = [=](Memory&) {
        found_arena();
        kept_count = 0;
        going = 0;
        set_up();
        kept_blocks = keeper->arena.header().blocks.load() - going;
        track_arena(spare_units, what);
    };
    subject.prepare = [=](Memory&) {
        join("victim");
        prepare();
    };
    subject.operation = [=](Memory&) { operation(); };
    subject.verify = [=](Memory&, const Crash&) -> std::string {
        join("survivor");
        if (const std::string wrong = arena_is_sound(kept_blocks); !wrong.empty()) return wrong;
        if (const std::string wrong = kept_are_untouched(); !wrong.empty()) return wrong;
        // It is of use: blocks of each kind are made, hold what is written, and go.
        keeper->arena.set_limit(256 * kUnit);
        std::array<std::uint32_t, 9> slots;
        std::size_t made = 0;
        for (std::uint64_t bytes = 64; made < slots.size(); bytes *= 3, ++made) {
            in_section(keeper->arena, keeper->caller(), [&] {
                fill(keep(bytes, Kind::none, slots[made]), bytes, 0xff);
            });
        }
        if (const std::string wrong = kept_are_untouched(); !wrong.empty()) return wrong;
        in_section(keeper->arena, keeper->caller(), [&] {
            for (const std::uint32_t slot : slots) keeper->handles.drop(keeper->arena, keeper->process, slot);
        });
        return arena_is_sound(kept_blocks);
    };
    return subject;
}

// What a survivor does first, killed as well: it finds the section ownerless, computes the books, sweeps the dead.
Case with_second_victims(Case subject) {
    subject.name += ", then another in its recovery";
    subject.recovery = [](Memory&) { join("second victim"); };
    return subject;
}

// --- Blocks ----------------------------------------------------------------------------------------------------------

std::uint32_t victims_slot;

template <std::uint64_t bytes>
void make_block() {
    as_victim([](SharedArena& arena) {
        SharedBlock* block = arena.heap.allocate(bytes, Kind::lock);
        if (block == nullptr || self->handles.add(arena, self->process, block) == SharedHandles::kNoSlot) std::abort();
    });
}
template <std::uint64_t bytes>
void prepare_block() {
    as_victim([](SharedArena& arena) {
        victims_slot = self->handles.add(arena, self->process, arena.heap.allocate(bytes, Kind::lock));
    });
}
// The victim has the last reference to the keeper's object.
void take_over_object() {
    as_victim([](SharedArena& arena) { victims_slot = self->handles.add(arena, self->process, own(object)); });
    keeper->handles.drop(keeper->arena, keeper->process, object_slot);
}
void drop_block() {
    as_victim([](SharedArena& arena) { self->handles.drop(arena, self->process, victims_slot); });
}

void add_block_cases(step_kill::Suite& suite, bool soak) {
    suite.add(make_case("make/a slot of a unit that is there", [] { keep_filled(200); }, nothing, make_block<128>));
    suite.add(make_case("make/a slot that was freed", [] {
        keep_filled(200);
        keep_filled(200);
        keep_filled(200);
        drop_kept(1);
    }, nothing, make_block<200>));
    suite.add(make_case("make/the first slot of a class", [] { keep_filled(200); }, nothing, make_block<1000>));
    suite.add(make_case("make/the last slot of a unit", [] { keep_filled(20'000); }, nothing, make_block<20'000>));
    suite.add(make_case("make/a large block from a free run", [] {
        keep_filled(4 * kUnit);
        keep_filled(kUnit);
        drop_kept(0);
    }, nothing, make_block<2 * kUnit>));
    suite.add(make_case("make/a large block from beyond the top", [] { keep_filled(200); }, nothing,
                        make_block<6 * kUnit>, 16));
    // At the limit: free runs are punched so that their pages can be had elsewhere.
    suite.add(make_case("make/a large block where free memory lies apart", [] {
        for (int i = 0; i < 7; ++i) keep_filled(2 * kUnit);
        for (int i = 0; i < 7; i += 2) drop_kept(static_cast<std::size_t>(i));
        keeper->arena.set_limit(keeper->arena.header().backed_units.load() * kUnit);
    }, nothing, make_block<5 * kUnit>, 16));
    suite.add(make_case("make/a large block from a hole", [] {
        for (int i = 0; i < 3; ++i) keep_filled(4 * kUnit);
        drop_kept(1);
        keeper->arena.set_limit((keeper->arena.header().backed_units.load() + 2) * kUnit);
        keep_filled(5 * kUnit);  // has the run punched
        drop_kept(3);
        keeper->arena.set_limit(256 * kUnit);
        for (int i = 0; i < 2; ++i) keep_filled(kUnit);
    }, nothing, make_block<4 * kUnit>, 16));

    suite.add(make_case("drop/a slot", [] { keep_filled(200); }, prepare_block<200>, drop_block));
    suite.add(make_case("drop/the only slot of a second unit", [] {
        keep_filled(20'000);
        keep_filled(20'000);
        keep_filled(20'000);
    }, [] {
        prepare_block<20'000>();
        as_victim([](SharedArena& arena) { self->handles.add(arena, self->process, arena.heap.allocate(20'000, Kind::lock)); });
    }, [] {
        drop_block();
        victims_slot += 1;
        drop_block();
    }));
    suite.add(make_case("drop/a large block between free ones", [] {
        for (int i = 0; i < 4; ++i) keep_filled(2 * kUnit);
        drop_kept(0);
        drop_kept(2);
        object = kept[1].block;  // which the keeper will hand over to the victim
        object_slot = kept[1].slot;
        kept[1].block = nullptr;
        going = 1;
    }, take_over_object, drop_block));
    Case tree = make_case("drop/a block and what belongs to it", [] {
        keep_object(100, Kind::queue);
        keep_filled(100, object);       // referred to besides: stays
        for (int i = 0; i < 3; ++i) keeper->arena.heap.allocate(i == 1 ? kUnit : 300, Kind::chunk, object);
        going = 4;
    }, take_over_object, drop_block);
    suite.add(tree);
    if (soak) suite.add(with_second_victims(tree));
    suite.add(make_case("give/a block to another, and to nobody", [] {
        keep_object(100, Kind::queue);
        keep_filled(100);
        keep_filled(100, object);
    }, [] {}, [] {
        as_victim([](SharedArena& arena) {
            arena.heap.set_owner(own(kept[0].block), own(object));
            arena.heap.set_owner(own(kept[1].block), nullptr);
        });
    }));
    suite.add(make_case("make/a reference that needs another table", [] { keep_filled(200); }, [] {
        as_victim([](SharedArena& arena) {
            for (std::uint32_t i = 0; i < kReferencesPerChunk; ++i)
                self->handles.add(arena, self->process, own(kept[0].block));
        });
    }, make_block<100>));
}

// --- Processes -------------------------------------------------------------------------------------------------------

// A chunk of records more stays, whoever needed it first: exactly one.
Case with_chunk_of_records(Case subject, void (*need_it)()) {
    const auto verify = subject.verify;
    subject.verify = [=](Memory& memory, const Crash& crash) {
        in_section(keeper->arena, keeper->caller(), need_it);
        kept_blocks += 1;
        return verify(memory, crash);
    };
    return subject;
}

// A process that will be dead as soon as `kill_twin` has been called, and what it refers to.
std::uint32_t twin;
std::unique_ptr<SharedHandles> twins_handles;

void set_up_twin() {
    keep_filled(200);
    twin = keeper->arena.registry.add_process(ProcessState::live, keeper->system.pid, keeper->system.birth, -1);
    ghost_of(twin);
    ghost_of(twin);
    going = keeper->arena.header().blocks.load();
    twins_handles = std::make_unique<SharedHandles>();
    auto& heap = keeper->arena.heap;
    const auto refer = [&](SharedBlock* block) { twins_handles->add(keeper->arena, twin, block); };
    refer(kept[0].block);
    refer(kept[0].block);
    SharedBlock* tree = heap.allocate(500, Kind::queue);
    refer(tree);
    refer(tree);
    refer(heap.allocate(70'000, Kind::chunk, tree));
    heap.allocate(4'000, Kind::chunk, tree);
    refer(heap.allocate(2 * kUnit, Kind::message));
    refer(heap.allocate(100, Kind::lock));
    going = keeper->arena.header().blocks.load() - going + 1;
}
void kill_twin() { keeper->arena.registry.process_at(twin).birth += 1; }

void add_thread_cases(step_kill::Suite& suite) {
    Case registering = make_case("register a thread", [] { keep_filled(200); }, nothing,
                                 [] { self->register_thread("victim"); });
    registering.prepare = [](Memory&) { self = attach(); };
    suite.add(registering);
    suite.add(make_case("register another thread", [] { keep_filled(200); }, nothing,
                        [] { self->register_thread("second"); }));
    suite.add(make_case("register a thread in place of one that ended", [] { keep_filled(200); }, [] {
        self->arena.registry.end_thread(self->token());
    }, [] { self->register_thread("second"); }));
}

void add_process_cases(step_kill::Suite& suite, bool soak) {
    Case attaching = make_case("attach", [] { keep_filled(200); }, nothing, [] { self = attach(); });
    attaching.prepare = [](Memory&) {};
    suite.add(attaching);
    suite.add(make_case("fork/in the parent", [] {
        keep_filled(200);
        keep_filled(kUnit);
    }, [] {
        as_victim([](SharedArena& arena) {
            self->handles.add(arena, self->process, own(kept[0].block));
            self->handles.add(arena, self->process, arena.heap.allocate(kUnit, Kind::message));
        });
    }, [] {
        fork_handlers.before();
        fork_handlers.in_parent();
    }));
    suite.add(make_case("fork/in the child", [] {
        keep_filled(200);
        keep_filled(kUnit);
    }, [] {
        as_victim([](SharedArena& arena) {
            self->handles.add(arena, self->process, own(kept[0].block));
            self->handles.add(arena, self->process, arena.heap.allocate(kUnit, Kind::message));
        });
        fork_handlers.before();
    }, [] { fork_handlers.in_child(); }));

    Case sweeping = make_case("sweep", set_up_twin, kill_twin, [] { self->sweep(); });
    suite.add(sweeping);
    if (soak) suite.add(with_second_victims(sweeping));
}

// Tens of thousands of instructions, which look for the one free record.
void add_record_cases(step_kill::Suite& suite) {
    suite.add(with_chunk_of_records(make_case("register a thread that needs a chunk of records", [] {
        keep_filled(200);
        auto& registry = keeper->arena.registry;
        while (keeper->arena.header().participant_hint.load() < kRecordsPerChunk - 1)
            registry.add_participant(keeper->process, kNoRecord, getpid(), 1, "thread");
    }, nothing, [] { self->register_thread("second"); }, 4, Track::all), [] {
        for (int i = 0; i < 4; ++i)
            keeper->arena.registry.add_participant(keeper->process, kNoRecord, keeper->system.pid, 1, "thread");
    }));
    suite.add(with_chunk_of_records(make_case("a process that needs a chunk of records", [] {
        keep_filled(200);
        auto& registry = keeper->arena.registry;
        for (std::uint32_t i = 1; i < kRecordsPerChunk; ++i) {
            auto& process = registry.process_at(i);
            process.pid = 1;  // lives for sure, and costs no look
            process.birth = treadle::platform::read_process_stat(1).birth;
            process.state.store(static_cast<std::uint32_t>(i < kRecordsPerChunk - 1 ? ProcessState::live : ProcessState::free));
        }
    }, nothing, [] {
        as_victim([](SharedArena& arena) {
            arena.registry.add_process(ProcessState::live, self->system.pid, self->system.birth, self->system.fd);
        });
    }, 4, Track::all), [] {
        for (int i = 0; i < 4; ++i) ghost_process();
    }));
}

// --- The books -------------------------------------------------------------------------------------------------------

// Scribbles over all that rebuild() is to compute.
void scribble() {
    Memory& h = self->arena.header();
    auto* runs = reinterpret_cast<Run<SharedWorld>*>(self->base + kRunsAt);
    self->arena.heap.for_each_block([](SharedBlock* block) {
        block->refs.store(77);
        block->first_child = block->prev_child = block->next_child = 0x777;
    });
    for (std::uint32_t unit = kFirstUnit; unit < h.top.load(); ++unit) {
        Run<SharedWorld>& run = runs[unit];
        run.prev = run.next = run.first = 0x777;
        run.used = run.free_slot = run.listed = 0x77;
    }
    for (auto& bin : h.free_bins) bin = 0x777;
    for (auto& bin : h.hole_bins) bin = 0x777;
    for (auto& list : h.class_lists) list = 0x777;
    h.backed_units.store(7);
    h.used_units.store(7);
    h.blocks.store(7);
}

void add_rebuild_cases(step_kill::Suite& suite) {
    suite.add(make_case("rebuild", [] {
        keep_object(100, Kind::queue);
        for (int i = 0; i < 5; ++i) keep_filled(i == 2 ? 2 * kUnit : 300, i % 2 != 0 ? object : nullptr);
        for (int i = 0; i < 3; ++i) keeper->arena.heap.allocate(3'000, Kind::chunk, object);
        keep_filled(kUnit);
        drop_kept(2);
        // Left by a death: blocks that nobody refers to, one with another that belongs to it.
        SharedBlock* left = keeper->arena.heap.allocate(300, Kind::queue);
        keeper->arena.heap.allocate(2 * kUnit, Kind::message, left);
        keeper->arena.heap.allocate(64, Kind::lock);
        going = 3;
        keeper->arena.header().mutex.try_acquire(boot_token(keeper->system.pid, keeper->system.birth + 1));
        keeper->arena.leave();
    }, [] {
        self->arena.header().mutex.try_acquire(boot_token(keeper->system.pid, keeper->system.birth + 1));
        scribble();
    }, [] {
        Mapping::Caller who = victim();
        who.look = true;
        Wait wait;
        if (self->arena.enter(who, wait) != Result::done) std::abort();
        self->arena.leave();
    }));
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    bool soak = false;
    for (int i = 1; i < argc; ++i) soak = soak || std::string(argv[i]) == "--soak";
    step_kill::Suite suite;
    arena_crash::add_block_cases(suite, soak);
    arena_crash::add_thread_cases(suite);
    // Of ten thousand instructions and more, and more still under a sanitizer.
    if (soak || !check::sanitized) arena_crash::add_process_cases(suite, soak);
    if (soak || !check::sanitized) arena_crash::add_rebuild_cases(suite);
    if (soak) arena_crash::add_record_cases(suite);
    return arena_crash::run(suite, argc, argv);
}
