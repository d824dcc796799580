// plan.hpp: how to explore: dfs(), random(), pct(), replay(), and their settings.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace schedule {

/// How to explore; made by dfs(), random(), pct() and replay(), refined by the methods, which return a changed copy.
struct Plan {
    enum class Search : std::uint8_t { dfs, random, pct, replay };

    Search search = Search::dfs;
    unsigned preemptions = 2;   ///< dfs: switches away from a fiber that could go on
    unsigned deaths = 0;        ///< kills in one execution
    unsigned spurious = 0;      ///< waits that time out while others can go on, and weak exchanges that fail unasked
    std::uint64_t executions = 20'000'000;
    std::uint64_t seed = 1;
    unsigned depth = 3;         ///< pct: the number of ordering constraints of the bugs looked for
    bool timeouts = true;       ///< may the parked ones look again when nobody can run?
    bool any_wake_order = false;
    bool prune = true;          ///< dfs: leave out executions equivalent to explored ones
    std::uint32_t max_steps = 20'000;
    std::string schedule;       ///< replay

    /// A state in which every fiber is parked is a failure (a lost wake-up), instead of their timeouts expiring.
    Plan no_timeouts() const { return with([](Plan& plan) { plan.timeouts = false; }); }
    /// At most `count` times in an execution, a wait times out at any moment, or a weak compare-exchange fails for no
    /// reason.
    Plan with_spurious(unsigned count) const { return with([=](Plan& plan) { plan.spurious = count; }); }
    /// A wake may choose any of the waiters; by default it takes the one that waits longest, as futexes mostly do.
    Plan waking_in_any_order() const { return with([](Plan& plan) { plan.any_wake_order = true; }); }
    /// Every schedule within the bounds, not one of each equivalence class; see "Pruning" in schedule.hpp.
    Plan unpruned() const { return with([](Plan& plan) { plan.prune = false; }); }
    /// An execution of more steps is a failure (a livelock).
    Plan with_max_steps(std::uint32_t count) const { return with([=](Plan& plan) { plan.max_steps = count; }); }

private:
    template <class Change>
    Plan with(Change change) const {
        Plan changed = *this;
        change(changed);
        return changed;
    }
};

/// Every schedule with at most so many preemptions and deaths, those with fewest preemptions first.
inline Plan dfs(unsigned preemption_bound, unsigned death_bound = 0, std::uint64_t max_executions = 20'000'000) {
    Plan plan;
    plan.search = Plan::Search::dfs;
    plan.preemptions = preemption_bound;
    plan.deaths = death_bound;
    plan.executions = max_executions;
    return plan;
}

/// Random walks: `executions` of them, from mostly undisturbed to a switch at almost every step.
inline Plan random(std::uint64_t seed, std::uint64_t executions, unsigned death_bound = 0) {
    Plan plan;
    plan.search = Plan::Search::random;
    plan.seed = seed;
    plan.executions = executions;
    plan.deaths = death_bound;
    return plan;
}

/// Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): random priorities with `depth` - 1 changes; an
/// execution finds a bug of that depth with a probability of at least 1 / (fibers * steps^(depth-1)).
inline Plan pct(std::uint64_t seed, std::uint64_t executions, unsigned depth = 3, unsigned death_bound = 0) {
    Plan plan = random(seed, executions, death_bound);
    plan.search = Plan::Search::pct;
    plan.depth = depth;
    return plan;
}

/// The one execution that a failure report names. Take the failing plan's other settings over: `plan.timeouts` etc.
inline Plan replay(std::string schedule, Plan like = {}) {
    like.search = Plan::Search::replay;
    like.schedule = std::move(schedule);
    like.executions = 1;
    return like;
}

}  // namespace schedule
