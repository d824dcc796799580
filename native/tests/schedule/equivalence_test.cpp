// The explorer reaches what a plain enumeration of all interleavings reaches, and pruning loses none of it: on random
// little programs, run by the explorer and by an interpreter that shares no code with it.
#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/schedule.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::Model;
using schedule::Plan;

namespace {

constexpr unsigned words = 2;

/// So many programs; fewer where a sanitizer makes each slow.
int programs_of(int ordinary, int soak) { return check::scale(ordinary, soak) / (check::sanitized ? 6 : 1); }

struct Instruction {
    enum Kind : unsigned { load, store, exchange, compare_exchange, fetch_add, alive, wait, wake, wake_threads, kinds } kind;
    unsigned word;
    std::uint32_t value;
};

using Program = std::vector<std::vector<Instruction>>;  // of each fiber

/// Everything observable of an execution: what each instruction returned (or that its fiber never got there, being
/// dead or parked for good), and the memory at the end.
using Outcome = std::string;

class Programs {
public:
    explicit Programs(std::uint64_t seed) : random_(seed) {}

    Program next(unsigned fibers, unsigned instructions) {
        Program program(fibers);
        for (auto& fiber : program) {
            for (unsigned i = 0; i < instructions; ++i) {
                fiber.push_back({kind(Instruction::alive), random_.below(words), random_.below(3)});
            }
        }
        return program;
    }

    /// Mostly waits and wakes, and few values, so that several sleep on one word.
    Program next_of_sleepers(unsigned fibers, unsigned instructions, bool ask) {
        Program program(fibers);
        for (auto& fiber : program) {
            for (unsigned i = 0; i < instructions; ++i) {
                Instruction instruction{kind(Instruction::wait), random_.below(4) / 3, random_.below(2)};
                switch (random_.below(ask ? 6 : 4)) {
                    case 0: instruction.kind = Instruction::wait, instruction.value = random_.below(4) / 3; break;
                    case 1:
                        instruction.kind = random_.below(2) == 0 ? Instruction::wake : Instruction::wake_threads;
                        instruction.value = 1 + random_.below(4) / 3;
                        break;
                    case 4: instruction.kind = Instruction::alive, instruction.value = random_.below(fibers); break;
                    default: if (instruction.kind == Instruction::alive) instruction.kind = Instruction::load; break;
                }
                fiber.push_back(instruction);
            }
        }
        return program;
    }

private:
    Instruction::Kind kind(unsigned limit) { return static_cast<Instruction::Kind>(random_.below(limit)); }

    schedule::detail::Random random_;
};

/// All interleavings, by recursion over copies of the whole state.
class Interpreter {
public:
    Interpreter(const Program& program, unsigned deaths) : program_(program), deaths_(deaths) {}

    std::set<Outcome> outcomes() {
        State start;
        start.fibers.resize(program_.size());
        explore(start, deaths_);
        return outcomes_;
    }

private:
    struct Fiber {
        std::size_t next = 0;
        bool parked = false;
        bool woken = false;     // and has not run since
        bool finished = false;  // at once after its last instruction
        bool dead = false;
        std::string seen;
    };
    struct State {
        std::array<std::uint32_t, words> memory{};
        std::vector<Fiber> fibers;
        std::vector<unsigned> queue;  // who parked, in order

        std::string key() const {
            std::string key;
            for (const auto word : memory) key += std::to_string(word) + ",";
            for (const Fiber& each : fibers) {
                for (const bool bit : {each.parked, each.woken, each.finished, each.dead}) key += bit ? '1' : '0';
                key += std::to_string(each.next) + each.seen + ";";
            }
            for (const unsigned id : queue) key += std::to_string(id);
            return key;
        }
    };

    void explore(const State& state, unsigned deaths) {
        // A program has many interleavings, but few states.
        if (!visited_.insert(state.key() + "/" + std::to_string(deaths)).second) return;
        bool stuck = true;
        for (unsigned id = 0; id < state.fibers.size(); ++id) {
            const Fiber& fiber = state.fibers[id];
            if (fiber.dead || fiber.finished) continue;
            if (!fiber.parked) {
                stuck = false;
                State next = state;
                step(next, id);
                Fiber& stepped = next.fibers[id];
                if (stepped.next == program_[id].size() && !stepped.parked) {
                    if (deaths > 0) explore(killed(next, id), deaths - 1);
                    stepped.finished = true;
                }
                explore(next, deaths);
            }
            if (deaths > 0) explore(killed(state, id), deaths - 1);
        }
        if (stuck) outcomes_.insert(outcome(state));
    }

    static State killed(State state, unsigned id) {
        state.fibers[id].dead = true;
        std::erase(state.queue, id);
        return state;
    }

    Outcome outcome(const State& state) const {
        Outcome outcome;
        for (const Fiber& fiber : state.fibers) outcome += fiber.seen + (fiber.parked && !fiber.dead ? "parked" : "") + "|";
        for (const auto word : state.memory) outcome += std::to_string(word) + " ";
        return outcome;
    }

    void step(State& state, unsigned id) const {
        Fiber& fiber = state.fibers[id];
        if (fiber.woken) {
            fiber.woken = false;
            fiber.seen += "0,";
            return;
        }
        const Instruction& instruction = program_[id][fiber.next++];
        std::uint32_t& word = state.memory[instruction.word];
        std::uint32_t seen = word;  // what the instruction returns
        switch (instruction.kind) {
            case Instruction::load: break;
            case Instruction::store: word = instruction.value, seen = 0; break;
            case Instruction::exchange: word = instruction.value; break;
            case Instruction::compare_exchange:
                if (word == instruction.value) word += 1;
                break;
            case Instruction::fetch_add: word += instruction.value; break;
            case Instruction::alive: seen = state.fibers[instruction.value].dead ? 0 : 1; break;
            case Instruction::wait:
                seen = 0;
                if (word == instruction.value) {
                    fiber.parked = true;
                    state.queue.push_back(id);
                    return;
                }
                break;
            case Instruction::wake:
            case Instruction::wake_threads: {
                seen = 0;
                for (std::size_t i = 0; i < state.queue.size() && seen < instruction.value;) {
                    Fiber& sleeper = state.fibers[state.queue[i]];
                    if (program_[state.queue[i]][sleeper.next - 1].word != instruction.word) {
                        ++i;
                        continue;
                    }
                    sleeper.parked = false;
                    sleeper.woken = true;
                    state.queue.erase(state.queue.begin() + static_cast<std::ptrdiff_t>(i));
                    ++seen;
                }
                if (instruction.kind == Instruction::wake) seen = 0;  // it does not tell
                break;
            }
            case Instruction::kinds: break;
        }
        fiber.seen += std::to_string(seen) + ",";
    }

    const Program& program_;
    const unsigned deaths_;
    std::set<Outcome> outcomes_;
    std::set<std::string> visited_;
};

/// The outcomes that the explorer reaches; waits that nobody wakes end the execution as an outcome, not as a failure.
std::set<Outcome> explored(const Program& program, const Plan& plan, std::uint64_t* executions = nullptr) {
    std::set<Outcome> outcomes;
    const auto result = schedule::explore(plan, [&](Execution& run) {
        std::array<Model::Atom<std::uint32_t>, words> memory{};
        std::vector<std::string> seen(program.size());
        std::vector<char> parked(program.size());
        for (unsigned id = 0; id < program.size(); ++id) {
            const auto body = [&, id] {
                for (const Instruction& instruction : program[id]) {
                    auto& word = memory[instruction.word];
                    std::uint32_t returned = 0;
                    switch (instruction.kind) {
                        case Instruction::load: returned = word.load(); break;
                        case Instruction::store: word.store(instruction.value); break;
                        case Instruction::exchange: returned = word.exchange(instruction.value); break;
                        case Instruction::compare_exchange:
                            returned = instruction.value;
                            word.compare_exchange_strong(returned, returned + 1);
                            break;
                        case Instruction::fetch_add: returned = word.fetch_add(instruction.value); break;
                        case Instruction::alive: returned = Model::alive(instruction.value); break;
                        case Instruction::wait:
                            // Timeouts only come when nobody can go on: this one is parked for good.
                            if (Model::wait(&word, instruction.value) == Model::Outcome::timeout) {
                                parked[id] = true;
                                return;
                            }
                            break;
                        case Instruction::wake: Model::wake(&word, static_cast<int>(instruction.value)); break;
                        case Instruction::wake_threads:
                            returned = static_cast<std::uint32_t>(Model::wake_threads(&word, static_cast<int>(instruction.value)));
                            break;
                        case Instruction::kinds: break;
                    }
                    seen[id] += std::to_string(returned) + ",";
                }
            };
            if (plan.deaths > 0) {
                run.killable_fiber("f", body);
            } else {
                run.fiber("f", body);
            }
        }
        run.run();
        Outcome outcome;
        for (unsigned id = 0; id < program.size(); ++id) {
            outcome += seen[id] + (parked[id] && !run.died(id) ? "parked" : "") + "|";
        }
        for (const auto& word : memory) outcome += std::to_string(word.peek()) + " ";
        outcomes.insert(outcome);
    });
    CHECK(result.complete && !result.failed, result.report);
    if (executions != nullptr) *executions += result.executions;
    return outcomes;
}

}  // namespace

TEST(unbounded_exploration_reaches_every_outcome_and_no_other) {
    Programs programs(1);
    for (int i = 0; i < programs_of(30, 600); ++i) {
        const Program program = programs.next(2 + i % 2, i % 2 == 0 ? 4 : 2);
        const auto truth = Interpreter(program, 0).outcomes();
        CHECK(explored(program, dfs(100).unpruned()) == truth, "program ", i);
        CHECK(explored(program, dfs(100)) == truth, "program ", i, ", pruned");
    }
}

TEST(pruning_loses_no_outcome_within_a_bound) {
    Programs programs(2);
    std::uint64_t all = 0, pruned = 0;
    for (int i = 0; i < programs_of(40, 500); ++i) {
        const Program program = programs.next(3, 4);
        for (unsigned bound = 0; bound <= 3; ++bound) {
            CHECK(explored(program, dfs(bound), &pruned) == explored(program, dfs(bound).unpruned(), &all), "program ", i,
                  ", bound ", bound);
        }
    }
    CHECK(pruned < all, "pruning has left out nothing");
    std::printf("%s\n", check::text("pruned: ", pruned, " executions instead of ", all).c_str());
}

TEST(sleeping_and_waking_reach_every_outcome_and_no_other) {
    Programs programs(3);
    for (int i = 0; i < programs_of(100, 1000); ++i) {
        const Program program = i % 2 == 0 ? programs.next_of_sleepers(3, 3, false) : programs.next_of_sleepers(4, 2, false);
        const auto truth = Interpreter(program, 0).outcomes();
        CHECK(explored(program, dfs(100)) == truth, "program ", i);
        if (i % 10 == 0) CHECK(explored(program, dfs(100).unpruned()) == truth, "program ", i, ", unpruned");
    }
}

TEST(deaths_reach_every_outcome_and_no_other) {
    Programs programs(4);
    for (int i = 0; i < programs_of(80, 800); ++i) {
        const Program program = i % 2 == 0 ? programs.next_of_sleepers(2, 4, true) : programs.next_of_sleepers(3, 2, true);
        const auto truth = Interpreter(program, 1).outcomes();
        CHECK(explored(program, dfs(100, 1)) == truth, "program ", i);
        CHECK(explored(program, dfs(100, 1).unpruned()) == truth, "program ", i, ", unpruned");
    }
}

TEST(programs_made_to_trip_pruning_and_killing_reach_every_outcome) {
    using enum Instruction::Kind;
    const Instruction sleep{wait, 0, 0}, wake_one{wake, 0, 1}, mark{exchange, 1, 1}, other_mark{exchange, 1, 2};
    const Instruction is_first_alive{alive, 0, 0};
    // Who sleeps on word 0 fell asleep before `set`; who loads a 1 from it came after.
    const Instruction set{store, 0, 1}, look{load, 0, 0};
    const std::vector<Program> programs = {
        // Who of two sleepers parked first decides whom a wake takes; it shows only after others have been at work.
        {{sleep, mark}, {sleep, mark}, {set, wake_one}, {look, other_mark}},
        {{sleep, mark}, {sleep, mark}, {mark, wake_one}, {other_mark}},
        // A sleeper is asked after, dies in its sleep, and the wake goes to the next one.
        {{sleep}, {sleep}, {set, is_first_alive, wake_one}},
        {{sleep, mark}, {sleep, other_mark}, {is_first_alive, wake_one, is_first_alive}},
        // A wake is spent on one who dies before it runs again.
        {{sleep}, {sleep}, {set, wake_one}},
        {{sleep, mark}, {sleep, mark}, {wake_one, is_first_alive}},
        // An answer about the living is followed by a race.
        {{mark, mark}, {is_first_alive, other_mark}, {mark, other_mark}},
        {{mark, mark}, {is_first_alive, is_first_alive, mark}, {is_first_alive, other_mark}},
    };
    for (std::size_t i = 0; i < programs.size(); ++i) {
        for (const unsigned deaths : {0u, 1u, 2u}) {
            const auto truth = Interpreter(programs[i], deaths).outcomes();
            CHECK(explored(programs[i], dfs(100, deaths)) == truth, "program ", i, ", deaths ", deaths);
        }
    }
}

TEST(plain_data_that_races_needs_a_yield_point_to_be_pruned_rightly) {
    // Two fibers write to a log that nothing protects, and then race for a word. What the documentation says of such data
    // holds: with a yield point before each access all four outcomes are reached; without, each schedule by itself must be.
    const auto outcomes = [](const Plan& plan, bool yield) {
        std::set<Outcome> found;
        schedule::explore(plan, [&](Execution& run) {
            Model::Atom<std::uint32_t> left{}, right{}, race{};
            Outcome log;
            for (const char name : {'a', 'b'}) {
                run.fiber(std::string(1, name), [&, name] {
                    (name == 'a' ? left : right).store(1);
                    if (yield) Model::yield_point("log");
                    log += name;
                    race.exchange(static_cast<std::uint32_t>(name));
                });
            }
            run.run();
            found.insert(log + static_cast<char>(race.peek()));
        });
        return found;
    };
    const std::set<Outcome> all = {"aba", "abb", "baa", "bab"};
    CHECK(outcomes(dfs(3).unpruned(), false) == all);
    CHECK(outcomes(dfs(3).unpruned(), true) == all);
    CHECK(outcomes(dfs(3), true) == all);
}

TEST(random_strategies_reach_only_what_is_possible) {
    Programs programs(5);
    for (int i = 0; i < programs_of(20, 200); ++i) {
        const Program program = programs.next_of_sleepers(3, 3, true);
        const auto truth = Interpreter(program, 1).outcomes();
        for (const Plan& plan : {schedule::random(1, 500, 1), schedule::pct(1, 500, 3, 1)}) {
            for (const Outcome& outcome : explored(program, plan)) CHECK(truth.contains(outcome), outcome);
        }
    }
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
