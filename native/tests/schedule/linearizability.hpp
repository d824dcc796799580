// linearizability.hpp: records the calls that fibers make on an object, and looks for an order that explains them.
//
//     struct Permits {                                             // the sequential specification
//         int left;
//         bool apply(const schedule::Operation<Call, bool>& op) {  // false: impossible in this state
//             if (op.call == Call::release) { ++left; return true; }
//             const bool got = left > 0;
//             if (op.reply && *op.reply != got) return false;      // no reply: pending, any outcome is allowed
//             left -= got;
//             return true;
//         }
//         friend bool operator==(const Permits&, const Permits&) = default;
//     };
//
//     schedule::History<Call, bool> history(run);
//     run.fiber("a", [&] { history.record(Call::try_acquire, [&] { return semaphore.try_acquire(); }); });
//     run.run();
//     const auto verdict = schedule::linearizable(history, Permits{1});
//     SCHEDULE_CHECK(verdict.holds, verdict.why);
//
// A history is linearizable if its operations can be put in one order that the specification allows and in which an
// operation that returned before another was called comes before it (Herlihy and Wing). An operation of a fiber that was
// killed is pending: it may have taken effect at any time after its call, or not at all. An operation that blocks is
// specified by `apply` returning false while it would have to wait.
//
// The search is Wing and Gong's with Lowe's memory of (set of operations done, state). At most 64 operations.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "check.hpp"
#include "schedule/execution.hpp"

namespace schedule {

template <class Call, class Reply>
struct Operation {
    static constexpr std::uint64_t never = ~std::uint64_t{0};

    std::uint32_t fiber = Execution::no_fiber;
    Call call{};
    std::optional<Reply> reply;       ///< empty: it has not returned
    std::uint64_t called = 0;         ///< times are positions in the history
    std::uint64_t returned = never;
};

template <class Call, class Reply>
class History {
public:
    using Entry = Operation<Call, Reply>;

    explicit History(Execution& execution) : execution_(execution) {}

    /// Calls `operation` and records call and reply. The call is a scheduling point of its own: it is recorded when the
    /// fiber gets to run, not when its previous operation ended.
    template <class Function>
    Reply record(Call call, Function&& operation) {
        const std::size_t index = begin(std::move(call));
        Reply reply = operation();
        end(index, reply);
        return reply;
    }

    /// The two halves of record(), for an operation whose reply is known in several places.
    std::size_t begin(Call call) {
        if (execution_.in_fiber()) execution_.invoke(execution_.tracing_ ? check::text(call) : std::string());
        operations_.push_back({execution_.self(), std::move(call), std::nullopt, ++time_, Entry::never});
        return operations_.size() - 1;
    }
    void end(std::size_t index, Reply reply) {
        Entry& entry = operations_[index];
        entry.returned = ++time_;
        if (execution_.in_fiber()) {
            execution_.respond(execution_.tracing_ ? check::text(entry.call, " -> ", reply) : std::string());
        }
        entry.reply = std::move(reply);
    }

    const std::vector<Entry>& operations() const { return operations_; }
    const Execution& execution() const { return execution_; }

private:
    Execution& execution_;
    std::vector<Entry> operations_;
    std::uint64_t time_ = 0;
};

struct Verdict {
    bool holds = false;
    std::string why;   ///< if not: the history, and how much of it could be explained
};

namespace detail {

template <class Call, class Reply, class Specification>
class LinearizationSearch {
public:
    using Entry = Operation<Call, Reply>;

    explicit LinearizationSearch(const std::vector<Entry>& operations) : operations_(operations) {
        if (operations.size() > 64) throw std::length_error("linearizable: at most 64 operations in one history");
        for (std::size_t i = 0; i < operations.size(); ++i) {
            if (operations[i].reply) completed_ |= std::uint64_t{1} << i;
        }
    }

    bool search(std::uint64_t done, const Specification& state) {
        if ((completed_ & ~done) == 0) return true;
        std::vector<Specification>& seen = seen_[done];
        if (std::find(seen.begin(), seen.end(), state) != seen.end()) return false;
        seen.push_back(state);
        if (count(done) > count(deepest_)) deepest_ = done;
        std::uint64_t first_return = Entry::never;
        for (std::size_t i = 0; i < operations_.size(); ++i) {
            if (!(done >> i & 1)) first_return = std::min(first_return, operations_[i].returned);
        }
        for (std::size_t i = 0; i < operations_.size(); ++i) {
            if ((done >> i & 1) || operations_[i].called > first_return) continue;
            Specification next = state;
            if (next.apply(operations_[i]) && search(done | std::uint64_t{1} << i, next)) return true;
        }
        return false;
    }

    std::uint64_t deepest() const { return deepest_; }

private:
    static int count(std::uint64_t set) { return __builtin_popcountll(set); }

    const std::vector<Entry>& operations_;
    std::uint64_t completed_ = 0;
    std::uint64_t deepest_ = 0;
    std::unordered_map<std::uint64_t, std::vector<Specification>> seen_;
};

}  // namespace detail

/// Is there an order of the operations that the specification, starting as `initial`, allows?
template <class Call, class Reply, class Specification>
Verdict linearizable(const std::vector<Operation<Call, Reply>>& operations, const Specification& initial) {
    detail::LinearizationSearch<Call, Reply, Specification> search(operations);
    if (search.search(0, initial)) return {true, {}};
    std::string why = "not linearizable (* in the longest order that could be found):";
    for (std::size_t i = 0; i < operations.size(); ++i) {
        const auto& each = operations[i];
        why += check::text("\n      ", (search.deepest() >> i & 1) != 0 ? "* " : "  ",
                           each.fiber == Execution::no_fiber ? "the test" : "fiber " + std::to_string(each.fiber), "  [",
                           each.called, ", ", each.reply ? std::to_string(each.returned) : "pending", "]  ", each.call);
        if (each.reply) why += check::text(" -> ", *each.reply);
    }
    return {false, why};
}

template <class Call, class Reply, class Specification>
Verdict linearizable(const History<Call, Reply>& history, const Specification& initial) {
    return linearizable(history.operations(), initial);
}

}  // namespace schedule
