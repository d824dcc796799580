// execution_inl.hpp: the workings of execution.hpp, which includes it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>

#include "schedule/execution.hpp"

namespace schedule {

inline std::uint32_t Execution::add(std::string name, std::function<void()> body, bool killable) {
    const auto id = static_cast<std::uint32_t>(fibers_.size());
    if (id == detail::max_fibers) throw std::length_error("schedule: too many fibers in one execution");
    Fiber& fiber = fibers_.emplace_back();
    fiber.name = std::move(name);
    fiber.body = std::move(body);
    fiber.context.prepare(stacks_.stack(id), detail::StackPool::size(), &enter);
    ready_ |= 1u << id;
    if (killable) killable_ |= 1u << id;
    return id;
}

inline void Execution::run() {
    last_ = no_fiber;
    if (const std::uint32_t first = decide(); first != no_fiber) {
        running_ = last_ = first;
        main_.switch_to(fibers_[first].context);
        running_ = no_fiber;
    }
    if (failed_) throw ExecutionFailed{};
}

inline void Execution::enter() {
    detail::Context::entered();
    Execution& execution = *current();
    Fiber& self = execution.fibers_[execution.running_];
    self.past = detail::mix(self.past, execution.barrier_, 4);
    execution.record(Act::start, nullptr, 0, 0);
    std::string escaped;
    try {
        self.body();
    } catch (const std::exception& error) {
        escaped = error.what();
        escaped = "an exception left fiber " + self.name + ": " + escaped;
    } catch (...) {
        escaped = "an exception left fiber " + self.name;
    }
    if (!escaped.empty()) execution.fail(std::move(escaped));
    const std::uint32_t id = execution.running_;
    // Nothing visible is left to do, so there is nothing to be preempted before; but it may be killed.
    self.pending = Act::finish;
    if ((execution.killable_ >> id & 1) != 0) {
        if (const std::uint32_t next = execution.decide(); next != id) execution.leave(next);
    }
    self.status = Status::ended;
    execution.ready_ &= ~(1u << id);
    execution.killable_ &= ~(1u << id);
    self.past = detail::mix(self.past, 5);
    execution.record(Act::finish, nullptr, 0, 0);
    execution.leave(execution.decide());
    std::abort();  // nobody resumes a fiber that has ended
}

inline void Execution::fail(std::string message) {
    record(Act::failed, nullptr, 0, 0, true, message);
    failed_ = true;
    message_ = std::move(message);
    if (running_ != no_fiber) leave(no_fiber);
    throw ExecutionFailed{};
}

// ---------------------------------------------------------------------------------------------------------- the steps

inline void Execution::point(Act act, const void* address, std::uint32_t argument) {
    Fiber& self = fibers_[running_];
    self.pending = act;
    self.address = address;
    self.argument = argument;
    if (++steps_ > plan_.max_steps) {
        fail("livelock: no end after " + std::to_string(plan_.max_steps) + " steps");
    }
    if (const std::uint32_t next = decide(); next != running_) leave(next);
    self.observed = false;
}

inline void Execution::did_read(const void* address, Act act, std::uint64_t value) {
    depend(memory(address), false);
    record(act, address, value, value);
}

inline void Execution::did_write(const void* address, Act act, std::uint64_t before, std::uint64_t after) {
    depend(memory(address), true);
    if (before != after) note_change(reinterpret_cast<std::uintptr_t>(address), before, after, running_);
    record(act, address, before, after);
}

inline void Execution::did_not_exchange(const void* address, std::uint64_t found, bool for_no_reason) {
    depend(memory(address), false);
    if (for_no_reason) fibers_[running_].past = detail::mix(fibers_[running_].past, 1);
    record(Act::compare_exchange, address, found, found, false, for_no_reason ? ", for NO REASON" : "");
}

inline bool Execution::weak_exchange_fails() {
    if (spurious_left_ == 0) return false;
    detail::Options options;
    options.add(Move::proceed, 0);
    options.add(Move::fail_weak, 0);
    if (choose(options) == 0) return false;
    --spurious_left_;
    return true;
}

inline Execution::Outcome Execution::wait(const void* word, std::uint32_t expected, std::uint32_t bits) {
    point(Act::wait, word, bits);
    std::uint32_t value;
    std::memcpy(&value, word, sizeof value);
    Fiber& self = fibers_[running_];
    depend(memory(word), false);
    record(Act::wait, word, value, expected, value == expected);
    if (value != expected) return Outcome::changed;
    depend(queue(word), true);
    self.status = Status::parked;
    self.parked_at = ++parks_;
    ready_ &= ~(1u << running_);
    parked_ |= 1u << running_;
    if (const std::uint32_t next = decide(); next != running_) leave(next);
    self.observed = false;
    record(Act::woken, nullptr, 0, 0);
    return self.outcome;
}

inline unsigned Execution::wake(const void* word, unsigned count, std::uint32_t bits) {
    point(Act::wake, word);
    // What a wake did is marked in those it woke; one that wakes nobody leaves no trace.
    Fiber& self = fibers_[running_];
    self.past = detail::mix(self.past, barrier_, 7);
    unsigned woken = 0;
    std::string names;
    while (woken < count) {
        detail::Options waiters;
        for (std::uint32_t set = parked_; set != 0; set &= set - 1) {
            const auto id = static_cast<std::uint32_t>(std::countr_zero(set));
            if (fibers_[id].address == word && (fibers_[id].argument & bits) != 0) waiters.add(Move::wake, id);
        }
        if (waiters.count == 0) break;
        std::sort(waiters.list, waiters.list + waiters.count, [&](const detail::Option& a, const detail::Option& b) {
            return fibers_[a.fiber].parked_at < fibers_[b.fiber].parked_at;
        });
        // When all are woken, their order means nothing.
        if (!plan_.any_wake_order || count - woken >= waiters.count) waiters.count = 1;
        const std::uint32_t id = waiters.list[waiters.count == 1 ? 0 : choose(waiters)].fiber;
        Fiber& waiter = fibers_[id];
        waiter.past = detail::mix(waiter.past, self.past);
        waiter.clock = std::max(waiter.clock, self.clock);
        unpark(id, Outcome::woken);
        ++woken;
        if (tracing_) names += (names.empty() ? ": " : ", ") + waiter.name;
    }
    record(Act::wake, word, 0, woken, true, std::move(names));
    return woken;
}

/// For one that goes on differently, depending on how many there were.
inline unsigned Execution::wake_and_count(const void* word, unsigned count, std::uint32_t bits) {
    const unsigned woken = wake(word, count, bits);
    Fiber& self = fibers_[running_];
    self.past = detail::mix(self.past, woken, 8);
    return woken;
}

inline void Execution::pause() {
    Fiber& self = fibers_[running_];
    const std::uint32_t others = ready_ & ~(1u << running_);
    if (self.has_paused) {
        self.reluctant = !self.seen_change;
        self.kept_waiting |= self.ready_since & ~self.ran_since & others;
    }
    self.has_paused = true;
    paused_ |= 1u << running_;
    self.seen_change = false;
    self.ready_since = others;
    self.ran_since = 0;
    self.clock += 1000;
    self.voluntary = true;
    point(Act::pause, nullptr);
    self.voluntary = false;
    record(Act::pause, nullptr, 0, 0);
}

inline bool Execution::alive(std::uint32_t fiber) {
    point(Act::alive, nullptr, fiber);
    if (fiber >= fibers_.size()) fail("alive(" + std::to_string(fiber) + "): there is no such fiber");
    depend(liveness(fiber), false);
    const bool lives = fibers_[fiber].status != Status::dead;
    fibers_[fiber].observed = true;
    record(Act::alive, nullptr, lives, lives, true, tracing_ ? fibers_[fiber].name : std::string());
    return lives;
}

inline void Execution::yield(std::string_view label) {
    point(Act::yield, nullptr);
    barrier_ = fibers_[running_].past = past_of_all();
    record(Act::yield, nullptr, 0, 0, true, tracing_ ? std::string(label) : std::string());
}

inline void Execution::invoke(std::string_view what) {
    point(Act::invoke, nullptr);
    // Calls commute with calls, and returns with returns; which returns came before a call is what a history is.
    Fiber& self = fibers_[running_];
    self.past = detail::mix(self.past, all_responses_, barrier_);
    record(Act::invoke, nullptr, 0, 0, true, tracing_ ? std::string(what) : std::string());
}

inline void Execution::respond(std::string_view what) {
    Fiber& self = fibers_[running_];
    self.past = detail::mix(self.past, barrier_, 6);
    all_responses_ += self.past;
    ++responses_;
    record(Act::respond, nullptr, 0, 0, true, tracing_ ? std::string(what) : std::string());
}

inline std::uint64_t Execution::now() {
    if (running_ == no_fiber) return clock_;
    if (++steps_ > plan_.max_steps) fail("livelock: no end after " + std::to_string(plan_.max_steps) + " steps");
    return clock_ + ++fibers_[running_].clock;
}

// -------------------------------------------------------------------------------------------------------- who goes on

/// The fiber that goes on; no_fiber if all have ended. Kills and early timeouts happen on the way.
inline std::uint32_t Execution::decide() {
    for (;;) {
        if (ready_ == 0) {
            if (parked_ == 0) return no_fiber;
            choose_timeout();
            continue;
        }
        const bool last_ready = ready(last_);
        const bool last_goes_on = last_ready && goes_on(fibers_[last_]);
        // The usual case, made quick: the running one goes on, and nothing else is possible.
        if (last_goes_on && ready_ == 1u << last_ && deaths_left_ == 0 && spurious_left_ == 0) {
            decisions_.push_back({Move::run, static_cast<std::uint8_t>(last_)});
            if (paused_ != 0) note_chosen(last_);
            return last_;
        }
        detail::Options options;
        add_runs(options, last_goes_on);
        if (deaths_left_ != 0) add_kills(options);
        if (spurious_left_ != 0) {
            for (std::uint32_t set = parked_; set != 0; set &= set - 1) {
                options.add(Move::early_timeout, static_cast<unsigned>(std::countr_zero(set)));
            }
        }
        if (last_ready) options.current = last_;
        const detail::Option taken = options.list[choose(options)];
        switch (taken.move) {
            case Move::kill: kill(taken.fiber); break;
            case Move::early_timeout:
                --spurious_left_;
                unpark_alone(taken.fiber, Act::early_timeout);
                break;
            default: {
                const std::uint32_t willing = ready_ & ~unwilling_fibers();
                const bool costs = last_goes_on ? taken.fiber != last_ : willing != 0 && (willing >> taken.fiber & 1) == 0;
                if (costs && preemptions_left_ != detail::Strategy::unlimited) --preemptions_left_;
                if (paused_ != 0) note_chosen(taken.fiber);
                return taken.fiber;
            }
        }
    }
}

inline void Execution::add_runs(detail::Options& options, bool last_goes_on) const {
    const std::uint32_t unwilling = unwilling_fibers();
    options.reluctant = unwilling;
    options.preemptions_left = preemptions_left_;
    std::uint32_t free = ready_ & ~unwilling;
    std::uint32_t costly = ready_ & unwilling;
    if (last_goes_on) {
        options.add(Move::run, last_);
        if (fibers_[last_].pending == Act::finish) return;
        free &= ~(1u << last_);
        std::swap(free, costly);
        costly |= free;
        free = 0;
    } else if (free == 0) {
        // Only spinning fibers are left. They go round in turn, without branching, until something changes.
        const std::uint32_t after_last = last_ == no_fiber ? ready_ : ready_ & ~((2u << last_) - 1);
        options.add(Move::run, static_cast<unsigned>(std::countr_zero(after_last != 0 ? after_last : ready_)));
        return;
    }
    // The last one, if it is among them (it has paused), comes last: others are more likely to end its spinning.
    const std::uint32_t self = last_ == no_fiber ? 0 : free & (1u << last_);
    for (std::uint32_t set = free & ~self; set != 0; set &= set - 1) {
        options.add(Move::run, static_cast<unsigned>(std::countr_zero(set)));
    }
    if (self != 0) options.add(Move::run, last_);
    if (preemptions_left_ == 0) {
        options.suppressed = costly != 0;
        return;
    }
    for (std::uint32_t set = costly; set != 0; set &= set - 1) {
        options.add(Move::run, static_cast<unsigned>(std::countr_zero(set)));
    }
}

inline void Execution::add_kills(detail::Options& options) const {
    if (ready(last_) && (killable_ >> last_ & 1) != 0) options.add(Move::kill, last_);
    const std::uint32_t last_bit = last_ == no_fiber ? 0 : 1u << last_;
    for (std::uint32_t set = killable_ & (ready_ | parked_) & ~last_bit; set != 0; set &= set - 1) {
        const auto id = static_cast<std::uint32_t>(std::countr_zero(set));
        const Fiber& victim = fibers_[id];
        // One that nobody has dealt with since its last step could as well have been killed right after that step.
        if (victim.pending == Act::start) continue;
        if (victim.status != Status::parked && victim.pending != Act::woken && !victim.observed) continue;
        bool noticed_next = !ready(last_);
        for (std::uint32_t others = ready_; others != 0 && !noticed_next; others &= others - 1) {
            const Fiber& other = fibers_[static_cast<std::uint32_t>(std::countr_zero(others))];
            noticed_next = other.pending == Act::alive ? other.argument == id
                                                       : other.pending == Act::wake && other.address == victim.address;
        }
        if (noticed_next) options.add(Move::kill, id);
    }
}

inline unsigned Execution::choose(detail::Options& options) {
    unsigned taken = 0;
    if (options.count > 1 || options.suppressed || strategy_.asked_always()) {
        if (options.count > 1) options.state = state(options);
        std::string refused;
        try {
            taken = strategy_.pick(options);
        } catch (const std::exception& error) {
            refused = error.what();
        }
        if (!refused.empty()) fail(std::move(refused));
    }
    decisions_.push_back(options.list[taken]);
    return taken;
}

/// Everybody has parked: one of them looks again, each once before one does so twice.
inline void Execution::choose_timeout() {
    if (!plan_.timeouts) fail("lost wake-up or deadlock: nobody can go on: " + list_parked());
    const std::uint64_t now = detail::mix(content_, responses_, deaths_, parked_);
    stalls_.push_back(now);
    const auto seen = std::count(stalls_.begin(), stalls_.end(), now);
    if (seen > 2 * std::popcount(parked_) + 1) {
        fail("deadlock: all have looked again, more than once, and nothing has changed: " + list_parked());
    }
    if ((parked_ & ~timed_out_) == 0) timed_out_ = 0;
    detail::Options options;
    for (std::uint32_t set = parked_ & ~timed_out_; set != 0; set &= set - 1) {
        options.add(Move::timeout, static_cast<unsigned>(std::countr_zero(set)));
    }
    if (deaths_left_ != 0) add_kills(options);
    const detail::Option taken = options.list[choose(options)];
    if (taken.move == Move::kill) {
        kill(taken.fiber);
        return;
    }
    ++timeouts_;
    clock_ += 200'000'000;  // as long as a waiter sleeps at most before it looks again
    timed_out_ |= 1u << taken.fiber;
    fibers_[taken.fiber].past = past_of_all();
    unpark_alone(taken.fiber, Act::timed_out);
}

inline void Execution::leave(std::uint32_t next) {
    detail::Context& from = fibers_[running_].context;
    if (next == no_fiber) {
        from.switch_to(main_);
    } else {
        running_ = last_ = next;
        from.switch_to(fibers_[next].context);
    }
}

inline void Execution::kill(std::uint32_t fiber) {
    Fiber& victim = fibers_[fiber];
    --deaths_left_;
    ++deaths_;
    victim.past = detail::mix(victim.past, barrier_, 3);
    object(liveness(fiber)).last_write = victim.past;
    note_change(liveness(fiber), 0, 1, fiber);
    victim.status = Status::dead;
    ready_ &= ~(1u << fiber);
    parked_ &= ~(1u << fiber);
    killable_ &= ~(1u << fiber);
    record_of(fiber, Act::killed);
}

/// A timeout: what nobody did.
inline void Execution::unpark_alone(std::uint32_t fiber, Act why) {
    Fiber& waiter = fibers_[fiber];
    record_of(fiber, why, waiter.address);
    waiter.past = detail::mix(waiter.past, barrier_, 2);
    unpark(fiber, Outcome::timeout);
}

inline void Execution::unpark(std::uint32_t fiber, Outcome outcome) {
    Fiber& waiter = fibers_[fiber];
    waiter.status = Status::ready;
    waiter.pending = Act::woken;
    waiter.outcome = outcome;
    parked_ &= ~(1u << fiber);
    ready_ |= 1u << fiber;
}

inline void Execution::note_chosen(std::uint32_t chosen) {
    fibers_[chosen].reluctant = false;
    for (Fiber& fiber : fibers_) {
        fiber.ready_since &= ready_;
        fiber.ran_since |= 1u << chosen;
        fiber.kept_waiting &= ~(1u << chosen);
    }
}

inline std::uint32_t Execution::unwilling_fibers() const {
    std::uint32_t result = 0;
    for (std::uint32_t set = paused_ & ready_; set != 0; set &= set - 1) {
        const auto id = static_cast<std::uint32_t>(std::countr_zero(set));
        if (unwilling(fibers_[id])) result |= 1u << id;
    }
    return result;
}

inline std::string Execution::list_parked() const {
    std::string list;
    detail::Labels labels = labels_;
    for (const Fiber& fiber : fibers_) {
        if (fiber.status == Status::parked) {
            list += (list.empty() ? "" : ", ") + fiber.name + " waits";
            // Addresses without a name differ from run to run, and would make one failure look like several.
            if (tracing_) list += " on " + labels.of(fiber.address);
        } else if (fiber.status == Status::dead) {
            list += (list.empty() ? "" : ", ") + fiber.name + " is dead";
        }
    }
    return list;
}

// ------------------------------------------------------------------------------------------------ what depends on what

inline Execution::Object& Execution::object(Key key) {
    if (2 * objects_used_ >= objects_.size()) {
        std::vector<Object> old(objects_.size() * 2);
        old.swap(objects_);
        objects_used_ = 0;
        for (const Object& each : old) {
            if (each.key != 0) object(each.key) = each;
        }
    }
    const std::size_t mask = objects_.size() - 1;
    for (std::size_t i = detail::mix(key) & mask;; i = (i + 1) & mask) {
        if (objects_[i].key == key) return objects_[i];
        if (objects_[i].key == 0) {
            ++objects_used_;
            objects_[i].key = key;
            return objects_[i];
        }
    }
}

inline void Execution::depend(Key key, bool writes) {
    Fiber& self = fibers_[running_];
    Object& what = object(key);
    self.past = detail::mix(self.past, what.last_write, barrier_, static_cast<std::uint64_t>(self.pending));
    self.clock = std::max(self.clock, what.clock) + 1;
    if (writes) {
        what.last_write = self.past;
        what.clock = self.clock;
    }
}

inline void Execution::note_change(Key key, std::uint64_t before, std::uint64_t after, std::uint32_t by) {
    content_ ^= detail::mix(key, before) ^ detail::mix(key, after);
    for (std::uint32_t set = paused_; set != 0; set &= set - 1) {
        const auto id = static_cast<std::uint32_t>(std::countr_zero(set));
        if (id == by) continue;
        fibers_[id].seen_change = true;
        fibers_[id].reluctant = false;
    }
}

inline std::uint64_t Execution::past_of_all() const {
    std::uint64_t sum = 0;
    std::uint64_t id = 0;
    for (const Fiber& fiber : fibers_) sum += detail::mix(fiber.past, ++id);
    return sum;
}

/// What, beside the preemptions left, decides how the execution can go on.
inline std::uint64_t Execution::state(const detail::Options& options) const {
    std::uint64_t result = past_of_all();
    std::uint64_t flags = 0;
    std::uint64_t id = 0;
    for (const Fiber& fiber : fibers_) {
        ++id;
        if (fiber.observed) flags |= std::uint64_t{1} << id;
        if (!fiber.has_paused) continue;
        result += detail::mix(fiber.reluctant * 4u + fiber.seen_change * 2u + fiber.voluntary, fiber.kept_waiting,
                              std::uint64_t{fiber.ready_since} << 32 | fiber.ran_since, id);
    }
    const std::uint64_t kind = static_cast<std::uint64_t>(options.list[0].move) << 32 | last_;
    return detail::mix(result, flags, kind, std::uint64_t{deaths_left_} << 32 | spurious_left_, timed_out_);
}

}  // namespace schedule
