// The arena under systematic schedules: allocator, references and records inside its section, what is read beside it, and
// the books after a death at any step.
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "arena/model_memory.hpp"
#include "check.hpp"
#include "crash/arena_books.hpp"
#include "schedule/schedule.hpp"

using namespace modelled;
using arena_crash::Books;
using schedule::dfs;
using schedule::Execution;
using treadle::word::kNobody;

namespace {

constexpr std::uint64_t kLimit = 24;  // units: the tables, and one large block beside them
constexpr std::uint64_t kSmall = 100, kLarge = 12 * kUnit;

struct Held {
    BlockRef ref;
    std::uint32_t slot;
    char stamp;  // its maker's
    std::uint64_t bytes;
    int children = 0;  // made by who holds it
};

template <class T>
using Atom = Model::Atom<T>;

struct Scene {
    Execution& run;
    Place place{kLimit};
    ModelArena& arena = place.arena();
    std::uint32_t fibers = 0;
    std::array<std::vector<Held>, kMembers> held;  // known to the living
    std::vector<Held> inherited;                   // by the child of a fork
    struct Thread {
        Atom<Token> token, ending, ended;  // the token that did so last
    };
    std::array<Thread, kMembers> threads{};
    std::array<std::uint32_t, kMembers> second;  // process records that fibers have taken beside their own
    struct {
        Atom<std::uint64_t> ref;
        char stamp;
        std::uint64_t bytes;
    } shown{};
    std::uint32_t forked = kNoRecord;          // the record of the child
    std::uint32_t born = Execution::no_fiber;  // that child, once it lives

    explicit Scene(Execution& execution) : run(execution) {
        second.fill(kNoRecord);
        inherited.reserve(8);
        for (auto& mine : held) mine.reserve(8);  // fibers that die own no memory
        run.label(arena.header(), "header");
        run.label(arena.header().mutex, "section");
        run.label(shown.ref, "shown");
    }

    std::uint32_t me() const { return Model::self() == Execution::no_fiber ? kMembers - 1 : Model::self(); }
    Member& self() { return place.self(); }
    static char stamp_of(std::uint32_t fiber, std::size_t n) { return static_cast<char>('a' + 8 * fiber + n % 8); }
    ModelBlock* block_of(const Held& each) { return arena.heap.resolve(each.ref); }
    static bool stamped(ModelBlock* block, char stamp, std::uint64_t bytes) {
        const char* at = reinterpret_cast<const char*>(block + 1);
        const std::uint64_t body = bytes - kBlockHeader;
        return block->bytes == bytes && at[0] == stamp && std::memcmp(at, at + 1, body - 1) == 0;
    }

    template <class Action>
    void inside(Action action) {
        insist(Caller{place}, [&](auto& who, Wait& wait) {
            if (arena.enter(who, wait) == Result::blocked) return Result::blocked;
            action();
            arena.leave();
            return Result::done;
        });
    }

    void make(std::uint64_t bytes) {
        auto& mine = held[me()];
        const char stamp = stamp_of(me(), mine.size());
        std::optional<Held> made;
        inside([&] {
            ModelBlock* block = arena.heap.allocate(bytes, Kind::message);
            if (block == nullptr) return;
            std::memset(static_cast<void*>(block + 1), stamp, bytes - kBlockHeader);
            const std::uint32_t slot = self().handles.add(arena, self().process, block);
            if (slot == Handles<StillWorld, Memory>::kNoSlot) return arena.heap.free(block);
            made = Held{arena.heap.ref_to(block), slot, stamp, bytes};
        });
        if (made) mine.push_back(*made);
        else SCHEDULE_CHECK(bytes == kLarge, "there is memory for a small block");
    }
    // A child of the latest block: nobody refers to it, and it goes with its owner.
    void make_child() {
        Held& owner = held[me()].back();
        inside([&] {
            ModelBlock* block = arena.heap.allocate(kSmall, Kind::chunk, block_of(owner));
            SCHEDULE_CHECK(block != nullptr && block->owner.load() == owner.ref);
        });
        ++owner.children;
    }
    void drop() {
        auto& mine = held[me()];
        if (mine.empty()) return;
        const Held last = mine.back();
        mine.pop_back();
        inside([&] {
            SCHEDULE_CHECK(stamped(block_of(last), last.stamp, last.bytes), "another has written into a block");
            self().handles.drop(arena, self().process, last.slot);
        });
    }
    void show() {
        const Held& last = held[me()].back();
        shown.stamp = last.stamp;
        shown.bytes = last.bytes;
        shown.ref.store(last.ref);
    }
    // Refers to what another shows, if it is still there; then it stays.
    void refer() {
        const BlockRef ref = shown.ref.load();
        if (ref == 0) return;
        std::optional<Held> made;
        inside([&] {
            ModelBlock* block = arena.heap.resolve(ref);
            if (block == nullptr) return;
            const std::uint32_t slot = self().handles.add(arena, self().process, block);
            SCHEDULE_CHECK((slot != Handles<StillWorld, Memory>::kNoSlot), "there is room in the table");
            made = Held{ref, slot, shown.stamp, shown.bytes};
        });
        if (made) held[me()].push_back(*made);
    }
    // Without the section: what this process refers to is there, whatever the others do.
    void look() {
        for (const Held& each : held[me()]) {
            ModelBlock* block = block_of(each);
            SCHEDULE_CHECK(block != nullptr, "a block is gone that is referred to");
            SCHEDULE_CHECK(stamped(block, each.stamp, each.bytes), "another has written into a block");
        }
        if (const BlockRef ref = shown.ref.load(); ref != 0) {
            ModelBlock* block = arena.heap.resolve(ref);
            SCHEDULE_CHECK(block == nullptr || arena.heap.offset_of_block(block) == offset_of(ref));
        }
    }

    void start_thread() {
        Token token = kNobody;
        const std::uint32_t former = token_index(threads[me()].token.load());
        inside([&] {
            const bool again = former != 0 && arena.registry.idle(former);
            token = arena.registry.add_participant(self().process, again ? former : kNoRecord, 1, 2, "thread");
        });
        SCHEDULE_CHECK(token != kNobody);
        threads[me()].token.store(token);
    }
    void end_thread() {
        Thread& mine = threads[me()];
        const Token token = mine.token.load();
        mine.ending.store(token);
        arena.registry.end_thread(token);
        mine.ended.store(token);
    }
    // Without the section: whether the others live, as a waiter asks.
    void ask() {
        for (std::uint32_t other = 0; other < fibers; ++other) {
            if (other == me()) continue;
            bool lived = Model::alive(other);
            bool said = arena.registry.alive(place.member(other).token);
            SCHEDULE_CHECK(lived || !said, "a dead process passes for a living one");
            SCHEDULE_CHECK(said || !Model::alive(other), "a living process passes for a dead one");
            Thread& thread = threads[other];
            const Token token = thread.token.load();
            if (token == kNobody) continue;
            const bool over = thread.ended.load() == token;
            lived = Model::alive(other);
            said = arena.registry.thread_alive(token);
            SCHEDULE_CHECK((lived && !over) || !said, "a thread that has ended passes for a living one");
            SCHEDULE_CHECK(said || thread.ending.load() >= token || !Model::alive(other), "a living thread passes for a dead one");
        }
    }
    void sweep() {
        auto& registry = arena.registry;
        for (std::uint32_t dead = 0; (dead = registry.find_dead(self().process, dead)) != kNoRecord; ++dead)
            inside([&] { registry.remove_if_dead(dead); });
    }
    // One more process of this fiber's, in the first record that is free: perhaps one that a dead process had.
    void join() {
        const std::uint32_t fiber = me();
        inside([&] {
            second[fiber] = arena.registry.add_process(ProcessState::live, static_cast<std::int32_t>(fiber) + 1, 1, -1);
            SCHEDULE_CHECK(second[fiber] != kNoRecord);
            SCHEDULE_CHECK(arena.registry.add_participant(second[fiber], kNoRecord, 1, 2, "main") != kNobody);
        });
    }

    // The parent's part of a fork, and the child's (arena/mapping.hpp): the child is the fiber after it.
    void fork() {
        std::uint32_t child = kNoRecord;
        inside([&] {
            auto& registry = arena.registry;
            child = registry.add_process(ProcessState::pending, static_cast<std::int32_t>(me()) + 1, 1, -1);
            SCHEDULE_CHECK(child != kNoRecord);
            forked = child;
            place.memory().lock_byte(child, me());
            SCHEDULE_CHECK(registry.copy_references(self().process, child));
            inherited = held[me()];
            place.memory().hand_to(me() + 1);  // from here on there is a child
        });
        place.memory().let_go(false);
    }
    void be_born() {
        while (!place.memory().handed_to(me()))
            if (place.memory().await_handing() == Model::Outcome::timeout && !place.memory().handed_to(me())) return;
        born = me();
        second[born] = forked;
        held[me()] = inherited;
        auto& record = arena.registry.process_at(second[me()]);
        record.pid.store(static_cast<std::int32_t>(me()) + 1, std::memory_order_relaxed);
        record.birth.store(1, std::memory_order_relaxed);
        record.state.store(static_cast<std::uint32_t>(ProcessState::live), std::memory_order_release);
        place.memory().let_go(true);
        look();
    }

    // --- Afterwards, by the process that was there all the time ---

    std::uint32_t references_of(std::uint32_t process) {
        std::uint32_t count = 0;
        for (Offset at = arena.registry.process_at(process).references.load(); at != 0;) {
            const auto* chunk = reinterpret_cast<ReferenceChunk<StillWorld>*>(arena.heap.block_at(at));
            for (const auto& entry : chunk->entries) count += entry.load() != 0;
            at = chunk->next.load();
        }
        return count;
    }
    void audit() {
        const std::string wrong = Books(arena).check();
        SCHEDULE_CHECK(wrong.empty(), wrong);
        std::uint32_t processes = kMembers;
        for (std::uint32_t fiber = 0; fiber < fibers; ++fiber) {
            if (run.died(fiber)) {
                --processes;
                continue;
            }
            processes += second[fiber] != kNoRecord;
            for (const Held& each : held[fiber]) {
                SCHEDULE_CHECK(block_of(each) != nullptr && stamped(block_of(each), each.stamp, each.bytes), "a block is lost");
                int children = 0;
                arena.heap.for_each_child(block_of(each), [&](ModelBlock*) { ++children; });
                SCHEDULE_CHECK(children >= each.children, "a block has lost what belongs to it");
            }
            const std::uint32_t process = fiber == born ? second[fiber] : place.member(fiber).process;
            SCHEDULE_CHECK(references_of(process) == held[fiber].size(), run.name(fiber), " holds ", held[fiber].size(),
                           " blocks, and its table names ", references_of(process));
            SCHEDULE_CHECK(arena.registry.alive(place.member(fiber).token));
        }
        std::uint32_t records = 0;
        for (std::uint32_t i = 0; i < arena.header().process_limit.load(); ++i)
            records += arena.registry.process_at(i).state.load() != static_cast<std::uint32_t>(ProcessState::free);
        SCHEDULE_CHECK(records == processes, records, " processes in the records, not ", processes);
    }
    void conclude() {
        sweep();
        inside([] {});
        audit();
        Books books(arena);
        books.check();
        const std::uint64_t used = arena.header().used_units.load(), backed = arena.header().backed_units.load();
        inside([this] { arena.rebuild(); });
        audit();
        SCHEDULE_CHECK(arena.header().used_units.load() == used - books.idle_units() && arena.header().backed_units.load() == backed);
    }
};

/// What one fiber does, as letters: m make a small block, l a large one, c a child of the latest; d drop the latest, v show
/// it to the others, o refer to what is shown; r read without the section; t start a thread, e end it, a ask whether the
/// others live; s sweep, j join as one more process; f fork into the next fiber, whose script begins with b.
void act(Scene& scene, const char* script) {
    for (; *script != 0; ++script) {
        switch (*script) {
            case 'm': scene.make(kSmall); break;
            case 'l': scene.make(kLarge); break;
            case 'c': scene.make_child(); break;
            case 'd': scene.drop(); break;
            case 'v': scene.show(); break;
            case 'o': scene.refer(); break;
            case 'r': scene.look(); break;
            case 't': scene.start_thread(); break;
            case 'e': scene.end_thread(); break;
            case 'a': scene.ask(); break;
            case 's': scene.sweep(); break;
            case 'j': scene.join(); break;
            case 'f': scene.fork(); break;
            case 'b': scene.be_born(); break;
            case '.': break;
        }
    }
}

/// All of them may be killed but those whose script begins with a dot.
auto scripts(std::vector<const char*> all) {
    return [=](Execution& run) {
        Scene scene(run);
        scene.fibers = scene.place.memory().mortals = static_cast<std::uint32_t>(all.size());
        for (const char* script : all) {
            const auto body = [&scene, script] { act(scene, script); };
            *script == '.' ? run.fiber(script, body) : run.killable_fiber(script, body);
        }
        run.run();
        scene.conclude();
    };
}

// A rebuild of the books reads every record there is.
schedule::Plan bounded(schedule::Plan plan) { return plan.with_max_steps(400'000); }

schedule::Plan within(unsigned preemptions, unsigned deaths = 0) { return bounded(dfs(preemptions, deaths)); }

}  // namespace

TEST(makers_and_droppers_do_not_meet) {
    schedule::check("arena, mrd mrd", within(2), scripts({"mrd", "mrd"}));
    schedule::check("arena, mcd mrmr", within(2), scripts({"mcd", "mrmr"}));
    schedule::check("arena, ldl lr", within(2), scripts({"ldl", "lr"}));
}

TEST(a_block_is_there_for_as_long_as_one_refers_to_it) {
    schedule::check("arena, mvd or mr", within(2), scripts({"mvd", "or", "mr"}));
    schedule::check("arena, mvcdm ord", within(2), scripts({"mvcdm", "ord"}));
}

TEST(who_lives_is_told_right_beside_the_section) {
    schedule::check("arena, tete a", within(2), scripts({"tete", "aa"}));
    schedule::check("arena, te mt a", within(1), scripts({"te", "mt", "a"}));
}

TEST(a_death_at_any_step_leaves_books_that_can_be_mended) {
    schedule::check("arena, deaths, mrd mrd", within(0, 1), scripts({"mrd", "mrd"}));
    schedule::check("arena, deaths, mcd mr", within(0, 1), scripts({"mcd", "mcr"}));
    schedule::check("arena, deaths, ldl ml", within(0, 1), scripts({"ldl", "ml"}));
    schedule::check("arena, deaths, mvd or", within(0, 1), scripts({"mvd", "ord"}));
}

TEST(the_records_of_the_dead_are_given_to_others_and_do_not_answer_for_them) {
    schedule::check("arena, deaths, tm sj a", within(0, 1), scripts({"tm", ".sjt", ".aaa"}));
    schedule::check("arena, deaths, m s s", within(0, 1), scripts({"m", ".sm", ".sm"}));
}

TEST(a_fork_is_whole_or_not_at_all) {
    schedule::check("arena, fork", within(check::scale(0u, 1u)), scripts({"f", "b", "s"}));
    schedule::check("arena, deaths, fork", within(0, 1), scripts({"mf", "b"}));
    if (check::soak()) schedule::check("arena, deaths, fork, sweep", within(0, 1), scripts({"mf", "b", ".s"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(300, 30000);
    schedule::check("arena, random", bounded(schedule::random(1, executions)), scripts({"mvrdte", "orlda", "mctdra", "stmja"}));
    schedule::check("arena, pct, deaths", bounded(schedule::pct(1, executions, 4, 1)), scripts({"mvcdte", "orlda", ".mdasja"}));
    schedule::check("arena, random, two deaths", bounded(schedule::random(2, executions, 2)),
                    scripts({"mvfd", "bra", "orsmsj", ".saja"}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
