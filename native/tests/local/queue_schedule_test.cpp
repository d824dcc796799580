// The turnstile and the queue of one process under systematic schedules, with an owner word for a section as free-threaded
// builds have it: linearizable, bounded, nobody is left asleep, also when the bound changes and when it is shut down.
#include <algorithm>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/local/queue.hpp"
#include "treadle/word/mutex.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;
using treadle::local::Mode;
using treadle::local::Order;
using word_test::Caller;
using word_test::Model;
using word_test::Result;
using word_test::Wait;

namespace {

struct Call {
    enum Kind { put, try_put, get, try_get, get_until_settled, lease, give_back, settle, done, join, size, shut, shut_now, bound } kind;
    std::uint64_t value = 0;

    friend std::ostream& operator<<(std::ostream& out, const Call& call) {
        constexpr const char* names[] = {"put",    "try_put", "get",  "try_get", "get_until_settled", "lease",    "give_back",
                                         "settle", "done",    "join", "size",    "shut",              "shut_now", "bound"};
        return out << names[call.kind] << ' ' << call.value;
    }
};

// The reply: an item or a figure, or a Result, negated.
using Calls = History<Call, int>;
constexpr int number(Result result) { return -1 - static_cast<int>(result); }

struct Sequential {
    Order order;
    std::uint64_t bound;
    std::vector<std::uint64_t> items{};  // in the order in which they come out
    std::uint64_t unfinished = 0;
    std::uint64_t leased = 0;
    int mode = 0;

    bool apply(const Operation<Call, int>& op) {
        int reply = number(Result::done);
        Sequential after = *this;
        switch (op.call.kind) {
            case Call::put:
            case Call::try_put:
                if (mode != 0) {
                    reply = number(Result::shut);
                } else if (bound != 0 && items.size() >= bound) {
                    if (op.call.kind == Call::put) return false;
                    reply = number(Result::full);
                } else {
                    after.items.insert(order == Order::last_in_first_out ? after.items.begin() : after.items.end(), op.call.value);
                    ++after.unfinished;
                }
                break;
            case Call::get:
            case Call::try_get:
            case Call::get_until_settled:
            case Call::lease:
                if (mode == 2 || (mode == 1 && items.empty() && !(op.call.kind == Call::get_until_settled && leased != 0))) {
                    reply = number(Result::shut);
                } else if (items.empty()) {
                    if (op.call.kind != Call::try_get) return false;
                    reply = number(Result::empty);
                } else {
                    reply = static_cast<int>(items.front());
                    after.items.erase(after.items.begin());
                    if (op.call.kind == Call::lease) ++after.leased;
                }
                break;
            case Call::settle: --after.leased; break;
            case Call::give_back:
                if (mode == 2) reply = number(Result::shut);
                else after.items.insert(after.items.begin(), op.call.value);
                break;
            case Call::done:
                if (unfinished == 0) reply = number(Result::overflow);
                else --after.unfinished;
                break;
            case Call::join:
                if (unfinished != 0) return false;
                break;
            case Call::size: reply = static_cast<int>(items.size()); break;
            case Call::shut: after.mode = std::max(mode, 1); break;
            case Call::shut_now:
                after.mode = 2;
                after.unfinished -= items.size();
                after.items.clear();
                break;
            case Call::bound: after.bound = op.call.value; break;
        }
        if (op.reply && *op.reply != reply) return false;
        *this = after;
        return true;
    }
    friend bool operator==(const Sequential&, const Sequential&) = default;
};

struct Options {
    std::uint64_t bound = 0;
    Order order = Order::first_in_first_out;
};

struct Scene {
    using QueueT = treadle::local::Queue<Model, treadle::word::Mutex<Model>>;

    Execution& run;
    Options options;
    QueueT queue{};
    Calls calls{run};
    std::uint64_t next[8] = {};
    std::uint64_t latest[8] = {};  // that each fiber got

    Scene(Execution& execution, Options how) : run(execution), options(how) {
        queue.initialise(how.bound, how.order);
        run.label(queue, "queue");
    }
    ~Scene() { queue.free_memory(); }

    static void* item(std::uint64_t n) { return reinterpret_cast<void*>(n); }
    std::uint32_t me() const { return Model::self() == Execution::no_fiber ? 7 : Model::self(); }

    /// Forever while it says `waiting`, or once.
    template <class Attempt>
    Result operate(bool waits, Result waiting, Attempt attempt) {
        Caller who;
        Wait wait;
        wait.announce = waits;
        for (;; word_test::park(who, wait)) {
            const Result result = attempt(who, wait);
            if (result == Result::blocked && !waits) {
                Model::pause();
                who.look = true;
                wait = Wait{};
                wait.announce = false;
                wait.section = true;
                continue;
            }
            if (result != Result::blocked && !(waits && result == waiting)) return result;
        }
    }
    void put(Call::Kind kind) {
        const std::uint64_t value = (me() + 1) * 10 + next[me()]++;
        calls.record({kind, value}, [&] {
            return number(operate(kind == Call::put, Result::full,
                                  [&](auto& who, Wait& wait) { return queue.attempt_put(who, item(value), wait); }));
        });
    }
    void get(Call::Kind kind) {
        calls.record({kind}, [&] {
            void* got = nullptr;
            const Result result = operate(kind != Call::try_get, Result::empty, [&](auto& who, Wait& wait) {
                return queue.attempt_get(who, got, wait, kind == Call::lease, kind == Call::get_until_settled);
            });
            latest[me()] = result == Result::done ? reinterpret_cast<std::uintptr_t>(got) : 0;
            return result == Result::done ? static_cast<int>(latest[me()]) : number(result);
        });
    }
    void give_back() {
        if (latest[me()] == 0) return;
        calls.record({Call::give_back, latest[me()]}, [&] {
            return number(operate(true, Result::blocked, [&](auto& who, Wait& wait) {
                return queue.attempt_return(who, item(latest[me()]), wait);
            }));
        });
    }
    void settle() {
        if (latest[me()] == 0) return;
        calls.record({Call::settle}, [&] { return queue.gates.settle(), number(Result::done); });
    }
    void done() {
        calls.record({Call::done}, [&] {
            return number(
                operate(true, Result::blocked, [&](auto& who, Wait& wait) { return queue.gates.attempt_done(who, 1, wait); }));
        });
    }
    void join() {
        calls.record({Call::join}, [&] {
            return number(
                operate(true, Result::empty, [&](auto& who, Wait& wait) { return queue.gates.attempt_join(who, wait); }));
        });
    }
    void size() {
        calls.record({Call::size}, [&] { return static_cast<int>(queue.gates.count()); });
    }
    void shut_down(bool now) {
        calls.record({now ? Call::shut_now : Call::shut}, [&] {
            return number(operate(true, Result::blocked, [&](auto& who, Wait& wait) {
                return queue.attempt_shut_down(who, now, wait, [](void*) {});
            }));
        });
    }
    void set_bound(std::uint64_t bound) {
        calls.record({Call::bound, bound}, [&] { return queue.gates.set_max_items(bound), number(Result::done); });
    }
    /// After run(): what is left is part of what has to be explained.
    void conclude() {
        size();
        while (queue.gates.count() != 0 && queue.gates.mode() != Mode::shut_now) get(Call::try_get);
        const auto verdict = schedule::linearizable(calls, Sequential{options.order, options.bound});
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    }
};

/// What one fiber does, as letters: p put, P put if there is room, g get, G get if there is one, u get until all leases are
/// settled, l lease, r give the latest back, e end its lease, d done with one, j join, s size, x shut down, X at once, 1 2 3 set
/// the bound.
void act(Scene& scene, const char* script) {
    for (; *script != 0; ++script) {
        switch (*script) {
            case 'p': scene.put(Call::put); break;
            case 'P': scene.put(Call::try_put); break;
            case 'g': scene.get(Call::get); break;
            case 'G': scene.get(Call::try_get); break;
            case 'u': scene.get(Call::get_until_settled); break;
            case 'l': scene.get(Call::lease); break;
            case 'r': scene.give_back(); break;
            case 'e': scene.settle(); break;
            case 'd': scene.done(); break;
            case 'j': scene.join(); break;
            case 's': scene.size(); break;
            case 'x': scene.shut_down(false); break;
            case 'X': scene.shut_down(true); break;
            case '1': scene.set_bound(1); break;
            case '2': scene.set_bound(2); break;
            case '3': scene.set_bound(3); break;
        }
    }
}

auto scripts(Options options, std::vector<const char*> all) {
    return [=](Execution& run) {
        Scene scene(run, options);
        for (const char* script : all) run.fiber(script, [&scene, script] { act(scene, script); });
        run.run();
        scene.conclude();
    };
}

constexpr Options kStack{0, Order::last_in_first_out};

schedule::Plan within(unsigned preemptions) { return dfs(preemptions).no_timeouts(); }

}  // namespace

TEST(it_is_linearizable_and_leaves_no_getter_asleep) {
    schedule::check("local queue, pp g g", within(2), scripts({}, {"pp", "g", "g"}));
    schedule::check("local queue, p p g g", within(1), scripts({}, {"p", "p", "g", "g"}));
    schedule::check("local queue, pGs gP", within(2), scripts({}, {"pGs", "gP", "p"}));
    schedule::check("local stack, ppp gG g", within(2), scripts(kStack, {"ppp", "gG", "g"}));
    schedule::check("local queue, any sleeper is woken", within(1).waking_in_any_order(), scripts({}, {"ppp", "g", "g", "g"}));
}

TEST(a_bound_holds_and_leaves_no_putter_asleep) {
    schedule::check("local queue of 1, ppp ggg", within(2), scripts({1}, {"ppp", "ggg"}));
    schedule::check("local queue of 1, pp pp gggg", within(1), scripts({1}, {"pp", "pp", "gggg"}));
    schedule::check("local queue of 2, ppp p ggg g", within(1), scripts({2}, {"ppp", "p", "ggg", "g"}));
    schedule::check("local queue of 2, ppp p gg", within(2), scripts({2}, {"ppp", "p", "gg"}));
    schedule::check("local queue of 1, Pppp gG gg", within(1), scripts({1}, {"Pppp", "gG", "gg"}));
}

TEST(another_bound_is_seen_by_who_waits_for_room) {
    schedule::check("local queue of 1, pp and a bound of 2", within(3), scripts({1}, {"pp", "2"}));
    schedule::check("local queue of 1, two putters and a bound of 2", within(2), scripts({1}, {"pp", "p", "2g"}));
    schedule::check("local queue of 1, a putter that has slept and a bound of 3", dfs(3).no_timeouts().with_spurious(1),
                    scripts({1}, {"pp", "p", "3"}));
    schedule::check("local queue of 1, a bound of 2 and of 1 again", within(1), scripts({1}, {"pp", "2g1", "p", "g"}));
}

TEST(what_comes_back_reaches_a_getter) {
    schedule::check("local queue, gr g pp", within(2), scripts({}, {"gr", "g", "pp"}));
    schedule::check("local queue of 1, gr g pp", within(1), scripts({1}, {"gr", "g", "pp"}));
    schedule::check("local stack, gr g pp", within(1), scripts(kStack, {"gr", "g", "pp"}));
}

TEST(joiners_wait_for_the_last) {
    schedule::check("local queue, pj gd", within(2), scripts({}, {"pj", "gd", "j"}));
    schedule::check("local queue, pp gd gd j", within(1), scripts({}, {"ppj", "gd", "gd"}));
}

TEST(a_shutdown_reaches_all_who_wait) {
    schedule::check("local queue, g g x", within(2), scripts({}, {"g", "g", "x"}));
    schedule::check("local queue of 1, pp gg x", within(2), scripts({1}, {"pp", "gg", "x"}));
    schedule::check("local queue of 1, pp g X", within(2), scripts({1}, {"pp", "g", "X"}));
    schedule::check("local queue, gr pp X", within(2), scripts({}, {"gr", "pp", "X"}));
    schedule::check("local queue, pj X", within(2), scripts({}, {"ppj", "X", "x"}));
}

TEST(after_a_shutdown_what_is_out_on_lease_is_waited_for) {
    schedule::check("local queue, ple u x", within(2), scripts({}, {"ple", "u", "x"}));
    schedule::check("local queue, plre u x", within(2), scripts({}, {"plre", "u", "x"}));
    schedule::check("local queue, plre u u x", within(1), scripts({}, {"plre", "u", "u", "x"}));
    schedule::check("local queue, ple ple u x", within(1), scripts({}, {"ple", "ple", "u", "x"}));
    schedule::check("local queue, ple u X", within(2), scripts({}, {"ple", "u", "X"}));
    schedule::check("local stack, plre u x", within(1), scripts(kStack, {"plre", "u", "x"}));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("local queue, 1 disturbance", dfs(2).no_timeouts().with_spurious(1), scripts({1}, {"pp", "gg"}));
    schedule::check("local queue, 2 disturbances", dfs(1).no_timeouts().with_spurious(2), scripts({}, {"pp", "g", "g"}));
}

TEST(who_gives_up_takes_no_wakeup_with_it) {
    // As await_held: after a wait that ran out, one more attempt, and only then it gives up.
    schedule::check("local queue, one gives up", dfs(2).no_timeouts().with_spurious(1), [](Execution& run) {
        Scene scene(run, {});
        run.fiber("gives up", [&] {
            Caller who;
            void* got = nullptr;
            bool over = false;
            for (Wait wait;;) {
                const Result result = scene.queue.attempt_get(who, got, wait);
                if (result == Result::done) return;
                if (result == Result::empty && over) return;
                if (wait.section) {
                    Model::pause();
                    continue;
                }
                over = Model::wait(wait.word, wait.expected) == Model::Outcome::timeout;
            }
        });
        run.fiber("patient", [&] { scene.get(Call::get); });
        run.fiber("putter", [&] { act(scene, "pp"); });
        run.run();
    });
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(2000, 100000);
    const auto body = scripts({2}, {"pgpg", "ppGs", "grg", "pP2g"});
    schedule::check("local queue, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("local queue, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
