// channel/doorbell.hpp: when an end of a channel is to be rung.
//
// Promise: no ring is lost, and none is made for an end that neither sleeps nor shows its descriptor. Process-safe and
// lock-free: one word for each end, in shared memory. The ring itself is a byte in a pipe (platform/pipe.hpp), which the
// caller writes when told to.
//
//   word  2 EXPOSED: the end's descriptor is with a selector; it is readable exactly while something can be received
//         1 ROOM: ring when there is room in what this end sends     0 MESSAGES: ring when there is one to receive
//
//   who sleeps                            who changes something
//   want(what)                  (Dekker)  publish in the ring
//   silence the bell                      claim(what): if it was wanted, and only for one caller, ring
//   look into the ring once more
//   sleep until the bell rings
//
// Both orders are sequentially consistent, so that one of the two sees the other. An exposed end wants messages whenever
// it has none, asleep or not: so every step from none to some is rung.
//
// Deaths. After want(): a ring for nobody. After claim(), before the byte: the others of that end look after a bounded
// sleep; if there are none, the pipe has lost its last writer, and that wakes as well. After the silence of an exposed end:
// it is asked to be rung with the next message.
#pragma once

#include <atomic>
#include <cstdint>

namespace treadle::channel {

enum class Want : std::uint32_t { messages = 1, room = 2 };

template <class World>
class Doorbell {
public:
    void want(Want what) noexcept { word_.fetch_or(bit(what), std::memory_order_seq_cst); }
    void expose() noexcept { word_.fetch_or(kExposed | bit(Want::messages), std::memory_order_seq_cst); }
    bool exposed() const noexcept { return (word_.load(std::memory_order_relaxed) & kExposed) != 0; }

    // Is the caller to ring? Call it after what is wanted has been published.
    bool claim(Want what) noexcept {
        if ((word_.load(std::memory_order_seq_cst) & bit(what)) == 0) return false;
        return (word_.fetch_and(~bit(what), std::memory_order_seq_cst) & bit(what)) != 0;
    }

private:
    static constexpr std::uint32_t kExposed = 4;
    static constexpr std::uint32_t bit(Want what) noexcept { return static_cast<std::uint32_t>(what); }

    typename World::template Atom<std::uint32_t> word_;
};

}  // namespace treadle::channel
