// Doorbells and reactors under death at every instruction. Whatever the victim was about: others go on waking each other,
// the sweep frees its reactor and its subscriptions, and what was rung for others stays.
#include <cstdint>
#include <string>

#include "crash/arena_fixture.hpp"
#include "treadle/tasks/doorbells.hpp"

namespace arena_crash {
namespace {

using Bells = treadle::tasks::Doorbells<SharedWorld>;

constexpr std::uint32_t kBucket = 70, kRung = 300;  // the keeper waits in both; kRung was rung for it before
constexpr int kAll = treadle::word::kWakeAll;

std::uint32_t keepers;      // the keeper's reactor
std::uint32_t twin, twins;  // a process that will be dead once `kill_twin` has been called, and its reactor

Bells bells_of(SharedArena& arena) { return Bells(arena.header()); }

template <class Notify>
void wake(SharedArena& arena, int count, std::uint32_t own, Notify notify, std::uint32_t bucket = kBucket) {
    bells_of(arena).wake(&arena.header().swept_at, bucket, count, SharedWorld::kAllBits, own, notify);
}
void wake(SharedArena& arena, int count) {
    wake(arena, count, Bells::kNoReactor, [](std::uint32_t) { return 0u; });
}

// What was rung for a reactor in a bucket: 1 for one, 2 for all; other buckets' stay for the next to ask.
unsigned collected[treadle::arena::kWakeBuckets];
unsigned rung_for(std::uint32_t reactor, std::uint32_t bucket) {
    bells_of(keeper->arena).collect(reactor, [](std::uint32_t rung, bool all) { collected[rung] |= all ? 2u : 1u; });
    const unsigned found = collected[bucket];
    collected[bucket] = 0;
    return found;
}

std::uint32_t add_reactor(std::uint32_t process) {
    std::uint32_t reactor = Bells::kNoReactor;
    in_section(keeper->arena, keeper->caller(), [&] { reactor = keeper->arena.registry.add_reactor(process); });
    return reactor;
}
void add_victims_reactor() {
    self->insist([](auto& who, Wait& wait) {
        if (self->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        self->reactor = self->arena.registry.add_reactor(self->process);
        self->arena.leave();
        return Result::done;
    });
}
void prepare_subscribed() {
    add_victims_reactor();
    for (const std::uint32_t bucket : {3u, kBucket, 511u}) bells_of(self->arena).subscribe(self->reactor, bucket);
}

void set_up_keeper() {
    keepers = add_reactor(keeper->process);
    bells_of(keeper->arena).subscribe(keepers, kRung);
    wake(keeper->arena, 1, Bells::kNoReactor, [](std::uint32_t) { return 0u; }, kRung);
    bells_of(keeper->arena).subscribe(keepers, kBucket);
}
void set_up_twin() {
    twin = keeper->arena.registry.add_process(ProcessState::live, keeper->system.pid, keeper->system.birth, -1);
    twins = add_reactor(twin);
    set_up_keeper();
    for (const std::uint32_t bucket : {0u, kBucket, kRung}) bells_of(keeper->arena).subscribe(twins, bucket);
    wake(keeper->arena, kAll);
    for (unsigned& each : collected) each = 0;
    rung_for(keepers, kBucket);
    collected[kRung] = 0;
    wake(keeper->arena, 1, twins, [](std::uint32_t) { return 0u; }, kRung);
}
void kill_twin() { keeper->arena.registry.process_at(twin).birth += 1; }

// The dead are swept: the keeper alone is subscribed, hears each wake, and so does a newcomer.
std::string others_wake_each_other() {
    const Memory& h = self->arena.header();
    for (std::uint32_t bucket = 0; bucket < treadle::arena::kWakeBuckets; ++bucket)
        for (std::uint32_t i = 0; i < treadle::arena::kReactors / 64; ++i) {
            const std::uint64_t due = (bucket == kBucket || bucket == kRung) && i == keepers / 64 ? 1ull << (keepers % 64) : 0;
            CRASH_REQUIRE(h.subscribed[bucket][i].load() == due, "bucket %u, part %u: %llx", bucket, i,
                          static_cast<unsigned long long>(h.subscribed[bucket][i].load()));
        }
    for (std::uint32_t i = 0; i < treadle::arena::kReactors; ++i)
        CRASH_REQUIRE(h.reactors[i].process.load() == (i == keepers ? keeper->process + 1 : 0), "reactor %u", i);
    for (int turn = 0; turn < 4; ++turn) {
        const std::uint32_t bell = bells_of(keeper->arena).bell(keepers);
        wake(self->arena, 1);
        CRASH_REQUIRE(rung_for(keepers, kBucket) == 1, "turn %d", turn);
        CRASH_REQUIRE(bells_of(keeper->arena).bell(keepers) == bell + 1);
    }
    // The survivor has tasks, too: each wake for one reaches one of the two, a wake for all reaches both.
    const std::uint32_t mine = add_reactor(self->process);
    CRASH_REQUIRE(mine != Bells::kNoReactor && mine != keepers);
    bells_of(self->arena).collect(mine, [](std::uint32_t, bool) {});
    bells_of(self->arena).subscribe(mine, kBucket);
    unsigned keeper_told = 0, told = 0;
    for (int turn = 0; turn < 8; ++turn) {
        wake(self->arena, 1, mine, [&](std::uint32_t) { return ++told, 1u; });
        keeper_told += rung_for(keepers, kBucket);
        CRASH_REQUIRE(keeper_told + told == static_cast<unsigned>(turn) + 1, "%u and %u", keeper_told, told);
    }
    CRASH_REQUIRE(keeper_told == 4 && told == 4);
    wake(keeper->arena, kAll, keepers, [&](std::uint32_t) { return ++told; });
    CRASH_REQUIRE(told == 5 && rung_for(mine, kBucket) == 2);
    CRASH_REQUIRE(!bells_of(self->arena).unsubscribe(mine, kBucket));
    return "";
}

Case bells_case(const char* name, void (*set_up)(), void (*prepare)(), void (*operation)(),
                std::string (*verify)(const Crash&) = nullptr) {
    Case subject = arena_case(name);
    subject.setup = [=](Memory&) {
        found_arena();
        for (unsigned& each : collected) each = 0;
        set_up();
        track_arena(4);
    };
    subject.prepare = [=](Memory&) {
        join("victim");
        prepare();
    };
    subject.operation = [=](Memory&) { operation(); };
    subject.verify = [=](Memory&, const Crash& crash) -> std::string {
        // Before the dead is swept, what it did to others.
        if (verify != nullptr)
            if (const std::string wrong = verify(crash); !wrong.empty()) return wrong;
        join("survivor");
        if (const std::string wrong = arena_is_sound(founding_blocks); !wrong.empty()) return wrong;
        CRASH_REQUIRE(rung_for(keepers, kRung) == 1, "what was rung for the keeper is lost");
        collected[kBucket] = 0;
        if (const std::string wrong = others_wake_each_other(); !wrong.empty()) return wrong;
        return arena_is_sound(founding_blocks);
    };
    return subject;
}

constexpr auto nothing = [] {};

// What the victim was to ring is rung if it came to that, and is what it was to ring.
template <unsigned due>
std::string keeper_is_rung(const Crash& crash) {
    const bool belled = keeper->arena.header().reactors[keepers].bell.load() >= 2;
    const unsigned rung = rung_for(keepers, kBucket);
    CRASH_REQUIRE(rung == due || (rung == 0 && !crash.finished), "%u", rung);
    CRASH_REQUIRE(!belled || rung == due, "the bell before the bit");
    CRASH_REQUIRE(belled || !crash.finished);
    return "";
}

void add_reactor_cases(step_kill::Suite& suite, bool soak) {
    suite.add(bells_case("reactor/add", set_up_keeper, nothing, add_victims_reactor));
    const auto sweep = [&](const char* name, void (*set_up)()) {
        return bells_case(name, set_up, kill_twin, [] { self->sweep(); });
    };
    suite.add(sweep("reactor/sweep a dead process's", set_up_twin));
    if (soak) {
        Case twice = sweep("reactor/sweep a dead process's, then another in its recovery", set_up_twin);
        twice.recovery = [](Memory&) { join("second victim"); };
        suite.add(twice);
    }
}

void add_bells_cases(step_kill::Suite& suite) {
    suite.add(bells_case("subscribe", set_up_keeper, add_victims_reactor, [] {
        for (const std::uint32_t bucket : {3u, kBucket, 511u}) bells_of(self->arena).subscribe(self->reactor, bucket);
    }));
    suite.add(bells_case("unsubscribe", set_up_keeper, prepare_subscribed, [] {
        for (const std::uint32_t bucket : {3u, kBucket, 511u}) bells_of(self->arena).unsubscribe(self->reactor, bucket);
    }));
    suite.add(bells_case("wake/one", set_up_keeper, nothing, [] { wake(self->arena, 1); }, keeper_is_rung<1>));
    suite.add(bells_case("wake/all", set_up_keeper, nothing, [] { wake(self->arena, kAll); }, keeper_is_rung<2>));
    suite.add(bells_case("wake/all, in a bucket that the victim is subscribed to as well", set_up_keeper, prepare_subscribed,
                         [] { wake(self->arena, kAll, self->reactor, [](std::uint32_t) { return 1u; }); }, keeper_is_rung<2>));
    suite.add(bells_case("collect", set_up_keeper, [] {
        prepare_subscribed();
        for (const int count : {1, kAll})
            for (const std::uint32_t bucket : {3u, kBucket, 511u})
                wake(keeper->arena, count, keepers, [](std::uint32_t) { return 0u; }, bucket);
    }, [] { bells_of(self->arena).collect(self->reactor, [](std::uint32_t, bool) {}); }));
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    bool soak = false;
    for (int i = 1; i < argc; ++i) soak = soak || std::string(argv[i]) == "--soak";
    step_kill::Suite suite;
    arena_crash::add_reactor_cases(suite, soak);
    arena_crash::add_bells_cases(suite);
    return arena_crash::run(suite, argc, argv);
}
