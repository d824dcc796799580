// Names under death at every instruction: objects named, kept, met, and let go.
#include <cstdint>
#include <string>

#include "check.hpp"
#include "crash/arena_fixture.hpp"

namespace arena_crash {
namespace {

Text text(const std::string& s) { return {s.data(), static_cast<std::uint32_t>(s.size())}; }
const std::string kName = "jobs", kDescription = "Queue(3)", kOther = "others";

template <class Action>
void as_victim(Action&& action) {
    self->insist([&](auto& who, Wait& wait) {
        if (self->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        action(self->arena);
        self->arena.leave();
        return Result::done;
    });
}

SharedBlock* find(SharedArena& arena, const std::string& name) {
    const auto* entry = arena.names.find(text(name));
    return entry == nullptr ? nullptr : arena.names.object_of(entry);
}

// The keeper's object has a name of its own, so that there is a chunk of names, and must keep it.
void name_keepers() {
    found_arena();
    keep_object(100, Kind::lock);
    if (!keeper->arena.names.add(object, text(kOther), text(kDescription))) give_up("no memory for a name");
}
std::uint64_t lasting;  // blocks that stay, whatever happens to the case's own name

// `outcome` looks at what the victim has left, swept, and adds to the number of blocks due.
Case make_case(const char* name, void (*set_up)(), void (*prepare)(), void (*operation)(),
               std::string (*outcome)(std::uint64_t& blocks)) {
    Case subject = arena_case(name);
    subject.setup = [=](Memory&) {
        name_keepers();
        set_up();
        track_arena(6);
    };
    subject.prepare = [=](Memory&) {
        join("victim");
        prepare();
    };
    subject.operation = [=](Memory&) { operation(); };
    subject.verify = [=](Memory&, const Crash&) -> std::string {
        join("survivor");
        self->sweep();
        std::uint64_t blocks = lasting;
        std::string wrong;
        in_section(self->arena, keeper->caller(), [&] {
            if (find(self->arena, kOther) != own(object)) wrong = "another name is gone";
            else wrong = outcome(blocks);
        });
        if (!wrong.empty()) return wrong;
        if (wrong = arena_is_sound(blocks); !wrong.empty()) return wrong;
        // The name is of use: let go of, given anew, found.
        std::uint32_t slot = 0;
        in_section(keeper->arena, keeper->caller(), [&] {
            if (SharedBlock* there = find(keeper->arena, kName)) keeper->arena.names.release(there);
            if (find(keeper->arena, kName) != nullptr) wrong = "the name is not free";
            SharedBlock* block = keep(100, Kind::lock, slot);
            if (!keeper->arena.names.add(block, text(kName), text(kDescription))) wrong = "it cannot be given";
            if (find(keeper->arena, kName) != block) wrong = "it is not found";
            keeper->handles.drop(keeper->arena, keeper->process, slot);
            keeper->arena.names.forget_persistence();
        });
        CRASH_REQUIRE(wrong.empty(), "%s", wrong.c_str());
        CRASH_REQUIRE(keeper->arena.header().may_persist.load() == 0);
        return arena_is_sound(lasting);
    };
    return subject;
}

void count_lasting() { lasting = keeper->arena.header().blocks.load(); }

SharedBlock* name_one(SharedArena& arena) {
    SharedBlock* block = arena.heap.allocate(100, Kind::queue);
    if (block == nullptr || self->handles.add(arena, self->process, block) == SharedHandles::kNoSlot ||
        !arena.names.add(block, text(kName), text(kDescription)))
        std::abort();
    return block;
}

// Only the dead had it: it is as if it had never been named.
std::string gone(std::uint64_t&) {
    return find(self->arena, kName) != nullptr ? "a name of the dead is left" : "";
}
// It stays with its object and its entry, or is gone; and what stays is not called useless.
std::string kept_or_gone(std::uint64_t& blocks) {
    SharedBlock* there = find(self->arena, kName);
    if (there == nullptr) return "";
    CRASH_REQUIRE(self->arena.names.keeps(there), "what is not kept has outlived its user");
    CRASH_REQUIRE(self->arena.header().may_persist.load() == 1);
    CRASH_REQUIRE(self->arena.names.description_of(self->arena.names.find(text(kName))) == text(kDescription));
    blocks += 2;
    return "";
}

// Fills the chunk of names, to which the keeper's belongs, but for `spare` slots.
void fill_chunk(std::uint32_t spare) {
    for (std::uint32_t n = 1; n + spare < kNamesPerChunk; ++n) {
        std::uint32_t slot;
        SharedBlock* block = keep(kBlockHeader, Kind::lock, slot);
        if (!keeper->arena.names.add(block, text("name " + std::to_string(n)), text("")))  give_up("no memory for a name");
    }
}

std::uint32_t kept_slot;
void keep_one() {
    SharedBlock* block = keep(100, Kind::queue, kept_slot);
    if (!keeper->arena.names.add(block, text(kName), text(kDescription))) give_up("no memory for a name");
    keeper->arena.names.keep(block);
}

void add_cases(step_kill::Suite& suite) {
    const auto nothing = [] {};
    suite.add(make_case("name/an object", count_lasting, nothing, [] { as_victim([](auto& arena) { name_one(arena); }); }, gone));
    suite.add(make_case("name/an object, and drop it", count_lasting, nothing, [] {
        as_victim([](auto& arena) { name_one(arena); });
        as_victim([](auto& arena) { self->handles.drop(arena, self->process, 0); });
    }, gone));
    suite.add(make_case("name/in a slot that was emptied", [] {
        fill_chunk(1);
        std::uint32_t slot;
        SharedBlock* block = keep(kBlockHeader, Kind::lock, slot);
        if (!keeper->arena.names.add(block, text("last"), text(""))) give_up("no memory for a name");
        keeper->handles.drop(keeper->arena, keeper->process, slot);
        count_lasting();
    }, nothing, [] { as_victim([](auto& arena) { name_one(arena); }); }, gone));
    suite.add(make_case("keep/an object as soon as it is named", count_lasting, nothing, [] {
        as_victim([](auto& arena) { arena.names.keep(name_one(arena)); });
    }, kept_or_gone));
    suite.add(make_case("keep/one that is there", count_lasting, [] { as_victim([](auto& arena) { name_one(arena); }); }, [] {
        as_victim([](auto& arena) { arena.names.keep(find(arena, kName)); });
    }, kept_or_gone));
    suite.add(make_case("release/what nobody uses", [] {
        count_lasting();
        keep_one();
        keeper->handles.drop(keeper->arena, keeper->process, kept_slot);
    }, nothing, [] { as_victim([](auto& arena) { arena.names.release(find(arena, kName)); }); }, kept_or_gone));
    suite.add(make_case("release/what only the victim uses", [] {
        count_lasting();
        keep_one();
        keeper->handles.drop(keeper->arena, keeper->process, kept_slot);
    }, [] {
        as_victim([](auto& arena) { self->handles.add(arena, self->process, find(arena, kName)); });
    }, [] { as_victim([](auto& arena) { arena.names.release(find(arena, kName)); }); }, kept_or_gone));
    suite.add(make_case("meet/what is kept", [] {
        count_lasting();
        keep_one();
        keeper->handles.drop(keeper->arena, keeper->process, kept_slot);
    }, nothing, [] {
        as_victim([](auto& arena) { self->handles.add(arena, self->process, find(arena, kName)); });
    }, [](std::uint64_t& blocks) -> std::string {
        CRASH_REQUIRE(find(self->arena, kName) != nullptr, "what was kept is gone");
        return kept_or_gone(blocks);
    }));
}

// Another chunk stays, whoever needed it first: exactly one.
void add_chunk_case(step_kill::Suite& suite) {
    suite.add(make_case("name/an object that needs another chunk", [] {
        fill_chunk(0);
        count_lasting();
        lasting += 1;
    }, [] {}, [] { as_victim([](auto& arena) { name_one(arena); }); }, [](std::uint64_t&) -> std::string {
        CRASH_REQUIRE(find(self->arena, kName) == nullptr, "a name of the dead is left");
        std::uint32_t slot;
        SharedBlock* block = keep(100, Kind::lock, slot);
        const bool named = keeper->arena.names.add(block, text("more"), text(""));
        keeper->handles.drop(keeper->arena, keeper->process, slot);
        return named ? "" : "no more names";
    }));
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    bool soak = false;
    for (int i = 1; i < argc; ++i) soak = soak || std::string(argv[i]) == "--soak";
    step_kill::Suite suite;
    arena_crash::add_cases(suite);
    if (soak || !check::sanitized) arena_crash::add_chunk_case(suite);
    return arena_crash::run(suite, argc, argv);
}
