// trace.hpp: what an execution did, step by step, for a reader.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace schedule::detail {

/// What a fiber does at a scheduling point.
enum class Act : std::uint8_t {
    start, finish, load, store, exchange, compare_exchange, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_xor,
    wait, wake, woken, pause, alive, yield, invoke, respond, killed, timed_out, early_timeout, failed,
};

struct Step {
    unsigned fiber = 0;
    Act act = Act::start;
    const void* address = nullptr;
    std::uint64_t before = 0;  ///< the value found; alive: the answer; wait: the value found
    std::uint64_t after = 0;   ///< the value left; wait: the value expected; wake: how many were woken
    bool took_effect = true;   ///< compare_exchange: did it exchange? wait: did it park?
    std::string note;
};

/// Names of addresses, given by the test; others are numbered in the order of their first use.
class Labels {
public:
    void add(const void* start, std::size_t size, std::string name) {
        ranges_[reinterpret_cast<std::uintptr_t>(start)] = {size, std::move(name)};
    }

    std::string of(const void* address) {
        const auto value = reinterpret_cast<std::uintptr_t>(address);
        // Of nested ranges, the one that starts last is the most telling.
        for (auto range = ranges_.upper_bound(value); range != ranges_.begin();) {
            --range;
            const std::uintptr_t offset = value - range->first;
            if (offset >= range->second.size) continue;
            return offset == 0 ? range->second.name : range->second.name + "+" + std::to_string(offset);
        }
        const auto [unnamed, fresh] = numbers_.try_emplace(value, numbers_.size() + 1);
        return "word#" + std::to_string(unnamed->second);
    }

private:
    struct Range {
        std::size_t size;
        std::string name;
    };
    std::map<std::uintptr_t, Range> ranges_;
    std::map<std::uintptr_t, std::size_t> numbers_;
};

inline std::string number(std::uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, value < 10 ? "%llu" : "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

inline std::string to_text(const Step& step, Labels& labels) {
    const std::string at = step.address == nullptr ? "" : " " + labels.of(step.address);
    const std::string change = number(step.before) + " -> " + number(step.after);
    switch (step.act) {
        case Act::start: return "starts";
        case Act::finish: return "ends";
        case Act::load: return "load" + at + " = " + number(step.before);
        case Act::store: return "store" + at + ": " + change;
        case Act::exchange: return "exchange" + at + ": " + change;
        case Act::compare_exchange:
            return "compare_exchange" + at + ": " + (step.took_effect ? change : "failed, found " + number(step.before)) +
                   step.note;
        case Act::fetch_add: return "fetch_add" + at + ": " + change;
        case Act::fetch_sub: return "fetch_sub" + at + ": " + change;
        case Act::fetch_or: return "fetch_or" + at + ": " + change;
        case Act::fetch_and: return "fetch_and" + at + ": " + change;
        case Act::fetch_xor: return "fetch_xor" + at + ": " + change;
        case Act::wait:
            return "wait" + at + " while " + number(step.after) +
                   (step.took_effect ? ": parks" : ": found " + number(step.before) + ", goes on");
        case Act::wake: return "wake" + at + ": " + number(step.after) + " woken" + step.note;
        case Act::woken: return "goes on after its wait";
        case Act::pause: return "pause";
        case Act::alive: return "alive(" + step.note + ") = " + (step.before != 0 ? "true" : "false");
        case Act::yield: return "at " + step.note;
        case Act::invoke: return "calls " + step.note;
        case Act::respond: return "returned from " + step.note;
        case Act::killed: return "is KILLED";
        case Act::timed_out: return "its wait" + at + " TIMES OUT";
        case Act::early_timeout: return "its wait" + at + " TIMES OUT, though others could go on";
        case Act::failed: return "FAILED: " + step.note;
    }
    return "?";
}

}  // namespace schedule::detail
