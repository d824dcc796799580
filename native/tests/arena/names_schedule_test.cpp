// Names under systematic schedules: programs that open, keep and let go of one name at once, and die meanwhile.
#include <array>
#include <cstdint>
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

namespace {

constexpr Text kName{"jobs", 4}, kDescription{"Queue(3)", 8};

struct Held {
    BlockRef ref = 0;
    std::uint32_t slot = 0;
};

struct Scene {
    Execution& run;
    Place place{};
    ModelArena& arena = place.arena();
    std::uint32_t fibers = 0;
    std::array<Held, kMembers> held{};
    std::uint32_t made = 0, kept = 0;

    explicit Scene(Execution& execution) : run(execution) {
        run.label(arena.header(), "header");
        run.label(arena.header().mutex, "section");
    }

    std::uint32_t me() const { return Model::self() == Execution::no_fiber ? kMembers - 1 : Model::self(); }
    template <class Action>
    void inside(Action action) {
        insist(Caller{place}, [&](auto& who, Wait& wait) {
            if (arena.enter(who, wait) == Result::blocked) return Result::blocked;
            action();
            arena.leave();
            return Result::done;
        });
    }
    ModelBlock* find() {
        const auto* entry = arena.names.find(kName);
        return entry == nullptr ? nullptr : arena.names.object_of(entry);
    }
    Held refer(ModelBlock* block) {
        return {arena.heap.ref_to(block), place.self().handles.add(arena, place.self().process, block)};
    }

    // As the core opens a name: looks for it, makes an object in a section of its own, and names it if it is still first.
    void open(bool keep) {
        Held mine;
        inside([&] {
            if (ModelBlock* there = find()) meet(refer(there), keep);
        });
        if (held[me()].ref != 0) return;
        inside([&] {
            ModelBlock* block = arena.heap.allocate(100, Kind::queue);
            SCHEDULE_CHECK(block != nullptr);
            mine = refer(block);
        });
        inside([&] {
            if (ModelBlock* there = find()) {
                meet(refer(there), keep);
            } else {
                SCHEDULE_CHECK(arena.names.add(arena.heap.resolve(mine.ref), kName, kDescription));
                ++made;
                meet(mine, keep);
            }
        });
        if (held[me()].ref != mine.ref) inside([&] { place.self().handles.drop(arena, place.self().process, mine.slot); });
    }
    // Inside the section: whoever has the name now has the same object.
    void meet(Held mine, bool keep) {
        for (std::uint32_t fiber = 0; fiber < fibers; ++fiber)
            if (held[fiber].ref != 0 && !run.died(fiber))
                SCHEDULE_CHECK(held[fiber].ref == mine.ref, "two objects have one name");
        held[me()] = mine;
        if (keep) arena.names.keep(arena.heap.resolve(mine.ref));
        SCHEDULE_CHECK(arena.names.entry_of(arena.heap.resolve(mine.ref)) == arena.names.find(kName));
    }
    void close() {
        if (held[me()].ref == 0) return;
        inside([&] {
            SCHEDULE_CHECK(find() == arena.heap.resolve(held[me()].ref), "a name is lost while its object is used");
            place.self().handles.drop(arena, place.self().process, held[me()].slot);
            held[me()] = {};
        });
    }
    void release() {
        inside([&] {
            if (ModelBlock* there = find()) arena.names.release(there);
        });
    }

    void conclude() {
        inside([] {});
        for (std::uint32_t dead = 0; (dead = arena.registry.find_dead(place.self().process, dead)) != kNoRecord; ++dead)
            inside([&] { arena.registry.remove_if_dead(dead); });
        for (int round = 0; round < 2; ++round) {
            const std::string wrong = Books(arena).check();
            SCHEDULE_CHECK(wrong.empty(), wrong);
            bool used = false;
            for (std::uint32_t fiber = 0; fiber < fibers; ++fiber) {
                if (run.died(fiber) || held[fiber].ref == 0) continue;
                used = true;
                SCHEDULE_CHECK(find() != nullptr && arena.heap.ref_to(find()) == held[fiber].ref);
            }
            if (find() != nullptr) {
                SCHEDULE_CHECK(used || arena.names.keeps(find()), "a name that nobody has");
                SCHEDULE_CHECK(!arena.names.keeps(find()) || arena.header().may_persist.load() == 1);
            }
            inside([this] { arena.rebuild(); });
        }
    }
};

/// What one fiber does: o open the name, k open and keep it, c close, u release it.
auto scripts(std::vector<const char*> all) {
    return [=](Execution& run) {
        Scene scene(run);
        scene.fibers = scene.place.memory().mortals = static_cast<std::uint32_t>(all.size());
        for (const char* script : all)
            run.killable_fiber(script, [&scene, script] {
                for (const char* step = script; *step != 0; ++step) {
                    switch (*step) {
                        case 'o': scene.open(false); break;
                        case 'k': scene.open(true); break;
                        case 'c': scene.close(); break;
                        case 'u': scene.release(); break;
                    }
                }
            });
        run.run();
        scene.conclude();
    };
}

schedule::Plan bounded(schedule::Plan plan) { return plan.with_max_steps(400'000); }

}  // namespace

TEST(of_those_who_open_a_name_at_once_exactly_one_creates) {
    schedule::check("names, o o", bounded(dfs(2)), scripts({"o", "o"}));
    schedule::check("names, oco oc", bounded(dfs(1)), scripts({"oco", "oc"}));
    schedule::check("names, o o o", bounded(dfs(1)), scripts({"o", "o", "o"}));
}

TEST(what_is_kept_is_met_again) {
    schedule::check("names, kc kc u", bounded(dfs(1)), scripts({"kc", "kc", "u"}));
    schedule::check("names, kco uc", bounded(dfs(1)), scripts({"kco", "u"}));
}

TEST(a_death_at_any_step_leaves_the_name_whole_or_gone) {
    schedule::check("names, deaths, oc oc", bounded(dfs(0, 1)), scripts({"oc", "oc"}));
    schedule::check("names, deaths, kc kc", bounded(dfs(0, 1)), scripts({"kc", "kc"}));
    schedule::check("names, deaths, ku oc", bounded(dfs(0, 1)), scripts({"ku", "oc"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(300, 30000);
    schedule::check("names, random", bounded(schedule::random(1, executions)), scripts({"ocko", "kcuo", "ococ", "ou"}));
    schedule::check("names, pct, deaths", bounded(schedule::pct(1, executions, 4, 2)), scripts({"ocko", "kcuo", "ococ", "ou"}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
