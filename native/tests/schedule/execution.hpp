// execution.hpp: one execution of a test: its fibers, who of them runs, and what makes two executions equivalent.
//
// Scheduling: a fiber that is about to do a visible step announces it (`point`) and the strategy says who goes on; the
// one chosen does its announced step and what follows, up to its next announcement. To leave a fiber that could go on
// is a preemption; leaving one that has parked, ended, been killed or paused is not.
//
// Spinning: a fiber that pauses and has seen no change since its last pause, or has kept another one waiting for the
// whole of its last round, becomes reluctant: it goes on only if nobody else can, or for the price of a preemption.
// So loops that spin are explored to the point at which they see something new, and no further.
//
// Death: a fiber may be killed where it stands while it is the running one; and where another fiber could tell the
// difference (it has looked whether this one lives, or has woken it, or would wake it next) at any time.
//
// Equivalence: each step is hashed with the steps it depends on, its fiber's last one and its object's last write; equal
// hashes of all fibers' last steps mean equal states (Mazurkiewicz traces; a read that came before a write needs no mark
// there, since it would be another read after it).
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schedule/fiber.hpp"
#include "schedule/strategy.hpp"
#include "schedule/trace.hpp"

namespace schedule {

struct Model;
class Explorer;

/// Thrown through the test's body when its execution has failed; not for tests to catch.
struct ExecutionFailed {};

class Execution {
public:
    static constexpr std::uint32_t no_fiber = ~std::uint32_t{0};

    Execution(const Execution&) = delete;
    Execution& operator=(const Execution&) = delete;

    /// Adds a fiber; it runs from the next run() on. Returns its number (0, 1, …), which is what Model::self() says.
    std::uint32_t fiber(std::string name, std::function<void()> body) {
        return add(std::move(name), std::move(body), false);
    }

    /// Adds a fiber that may be killed at any of its steps. Its frames must own no heap memory (they are not unwound).
    std::uint32_t killable_fiber(std::string name, std::function<void()> body) {
        return add(std::move(name), std::move(body), true);
    }

    /// Runs the fibers until each has ended or been killed. May be called again after more were added.
    void run();

    /// Names an object's bytes in traces.
    void label(const void* start, std::size_t size, std::string_view name) {
        if (tracing_) labels_.add(start, size, std::string(name));
    }
    template <class T>
    void label(const T& object, std::string_view name) {
        label(&object, sizeof object, name);
    }

    /// Was this fiber killed? (Not a scheduling point; fibers use Model::alive.)
    bool died(std::uint32_t fiber) const { return fibers_[fiber].status == Status::dead; }
    unsigned deaths() const { return deaths_; }
    unsigned timeouts() const { return timeouts_; }
    std::uint64_t steps() const { return steps_; }
    const std::string& name(std::uint32_t fiber) const { return fibers_[fiber].name; }

    /// Ends the execution as failed. Callable in fibers (does not return) and in the test's body (throws).
    [[noreturn]] void fail(std::string message);

    /// The execution in progress, or null.
    static Execution*& current() {
        static Execution* active = nullptr;
        return active;
    }

private:
    friend struct Model;
    friend class Explorer;
    template <class, class>
    friend class History;

    using Act = detail::Act;
    using Move = detail::Move;
    using Key = std::uint64_t;

    enum class Status : std::uint8_t { ready, parked, ended, dead };
    enum class Outcome : std::uint8_t { woken, changed, timeout };

    struct Fiber {
        std::string name;
        std::function<void()> body;
        detail::Context context;
        Status status = Status::ready;
        Act pending = Act::start;        ///< the announced step, its address and, for `alive`, the fiber asked after
        const void* address = nullptr;   ///< also: what it is parked on
        std::uint32_t argument = 0;      ///< wait: which wakes reach it
        bool voluntary = false;          ///< to leave it here is no preemption
        bool observed = false;           ///< somebody has asked whether it lives since its last step
        bool has_paused = false;
        bool reluctant = false;
        bool seen_change = false;        ///< somebody else has changed something since its last pause
        std::uint32_t kept_waiting = 0;  ///< fibers that go before this one, while they can
        std::uint32_t ready_since = 0;   ///< fibers that could have run all the time since its last pause
        std::uint32_t ran_since = 0;     ///< fibers that have
        std::uint64_t parked_at = 0;
        std::uint64_t past = 0;          ///< hash of its last step and all that this depends on
        std::uint64_t clock = 0;
        Outcome outcome = Outcome::woken;
    };

    struct Object {
        Key key = 0;
        std::uint64_t last_write = 0;
        std::uint64_t clock = 0;
    };

    Execution(const Plan& plan, detail::Strategy& strategy, detail::StackPool& stacks, bool tracing)
        : plan_(plan), strategy_(strategy), stacks_(stacks), tracing_(tracing),
          deaths_left_(plan.search == Plan::Search::replay ? detail::Strategy::unlimited : plan.deaths),
          spurious_left_(plan.search == Plan::Search::replay ? detail::Strategy::unlimited : plan.spurious),
          preemptions_left_(strategy.preemptions()) {
        objects_.resize(64);
    }

    std::uint32_t add(std::string name, std::function<void()> body, bool killable);
    static void enter();

    // For Model and History: a step is announced, then done, then recorded.
    bool in_fiber() const { return running_ != no_fiber; }
    std::uint32_t self() const { return running_; }
    void point(Act act, const void* address, std::uint32_t argument = 0);
    void did_read(const void* address, Act act, std::uint64_t value);
    void did_write(const void* address, Act act, std::uint64_t before, std::uint64_t after);
    void did_not_exchange(const void* address, std::uint64_t found, bool for_no_reason);
    bool weak_exchange_fails();
    Outcome wait(const void* word, std::uint32_t expected, std::uint32_t bits);
    unsigned wake(const void* word, unsigned count, std::uint32_t bits);
    unsigned wake_and_count(const void* word, unsigned count, std::uint32_t bits);
    void pause();
    bool alive(std::uint32_t fiber);
    void yield(std::string_view label);
    void invoke(std::string_view what);
    void respond(std::string_view what);
    std::uint64_t now();

    // Who goes on.
    std::uint32_t decide();
    void add_runs(detail::Options& options, bool last_goes_on) const;
    void add_kills(detail::Options& options) const;
    unsigned choose(detail::Options& options);
    void choose_timeout();
    void leave(std::uint32_t next);
    void kill(std::uint32_t fiber);
    void unpark(std::uint32_t fiber, Outcome outcome);
    void unpark_alone(std::uint32_t fiber, Act why);
    void note_chosen(std::uint32_t fiber);
    bool ready(std::uint32_t fiber) const { return fiber != no_fiber && (ready_ >> fiber & 1) != 0; }
    bool unwilling(const Fiber& fiber) const { return fiber.reluctant || (fiber.kept_waiting & ready_) != 0; }
    bool goes_on(const Fiber& last) const { return last.pending == Act::finish || (!last.voluntary && !unwilling(last)); }
    std::uint32_t unwilling_fibers() const;
    std::string list_parked() const;

    // What depends on what.
    static Key memory(const void* address) { return reinterpret_cast<std::uintptr_t>(address) & ~Key{7}; }
    static Key queue(const void* address) { return memory(address) | 1; }
    static Key liveness(std::uint32_t fiber) { return fiber * 8 + 2; }
    Object& object(Key key);
    void depend(Key key, bool writes);
    void note_change(Key key, std::uint64_t before, std::uint64_t after, std::uint32_t by);
    std::uint64_t past_of_all() const;
    std::uint64_t state(const detail::Options& options) const;

    void record(Act act, const void* address, std::uint64_t before, std::uint64_t after, bool took_effect = true,
                std::string note = {}) {
        if (tracing_) trace_.push_back({running_, act, address, before, after, took_effect, std::move(note)});
    }
    void record_of(std::uint32_t fiber, Act act, const void* address = nullptr) {
        if (tracing_) trace_.push_back({fiber, act, address, 0, 0, true, {}});
    }

    const Plan& plan_;
    detail::Strategy& strategy_;
    detail::StackPool& stacks_;
    detail::Context main_;
    std::deque<Fiber> fibers_;           ///< a deque, since contexts must not move
    std::vector<Object> objects_;
    std::size_t objects_used_ = 0;
    std::vector<detail::Option> decisions_;
    std::vector<std::uint64_t> stalls_;
    std::vector<detail::Step> trace_;
    detail::Labels labels_;
    const bool tracing_;
    bool failed_ = false;
    std::string message_;
    std::uint32_t running_ = no_fiber;   ///< whose stack this is
    std::uint32_t last_ = no_fiber;      ///< who ran last, for the price of a switch
    std::uint32_t ready_ = 0;            ///< bit sets of fibers: those that could run,
    std::uint32_t parked_ = 0;           ///< those that wait,
    std::uint32_t killable_ = 0;         ///< those that may be killed still,
    std::uint32_t paused_ = 0;           ///< those that have ever paused
    std::uint32_t timed_out_ = 0;        ///< fibers whose wait has timed out in this round of timeouts
    unsigned deaths_left_;
    unsigned spurious_left_;
    unsigned preemptions_left_;
    unsigned deaths_ = 0;
    unsigned timeouts_ = 0;
    unsigned responses_ = 0;             ///< operations completed (History): progress, though memory may look the same
    std::uint64_t steps_ = 0;
    std::uint64_t parks_ = 0;
    std::uint64_t content_ = 0;          ///< hash of all that was changed in memory
    std::uint64_t barrier_ = 0;          ///< the last step that depends on everything before it
    std::uint64_t all_responses_ = 0;    ///< hash of the returns so far (History)
    std::uint64_t clock_ = 1'000'000'000;
};

}  // namespace schedule

#include "schedule/execution_inl.hpp"
