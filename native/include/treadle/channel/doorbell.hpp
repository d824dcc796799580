// channel/doorbell.hpp: when an end of a channel is to be rung.
//
// Promise: no ring is lost, and none is made for an end that neither sleeps nor shows its descriptor. Process-safe: one
// word for each end, in shared memory. The ring itself is a byte in a pipe, which stays until somebody of that end takes
// it. `Pipe` is what the caller holds of it: ring() at the other's; at his own ring(), silence() (what is there) and
// take() (that, and if there was nothing, the byte that must be on its way: it waits for it, for a bounded time).
//
//   word  63..4 index: of the first message that is wanted
//         3 EXPOSED: the end's descriptor is with a selector     2 OWED: a byte for messages is in the pipe or on its way
//         1 ROOM: wanted (what this end sends may have some)      0 MESSAGES: wanted, from `index` on
//
//   MESSAGES OWED
//      0      0    nobody asks                       settle -> asked for
//      1      0    asked for                         claim by who has sent message `index` or a later one -> rung
//      0      1    rung                              settle: the byte is taken -> asked for
//
//   who sleeps, or shows its end          who sends
//   settle: take what is owed, ask        (Dekker)  publish the message
//   look once more                        claim, ring (ring_for_messages)
//   sleep while the bell is silent
//
// Both orders are sequentially consistent, so that one of the two sees the other. The index keeps a sender that is late
// from ringing for a message that was taken before anybody asked. An exposed end asks whenever it has no messages, and
// takes the byte before it does: so it is readable exactly while something can be received (show). Two processes that
// receive at one exposed end may take each other's byte; each then sets the sign right once more.
//
// Deaths. Between claim and ring: the byte never comes. Who waits for it goes on after the bounded time; a sleeper looks
// after its bounded sleep; and if the dead were the last on the other side, the pipe has lost its last writer, which wakes
// as well. Between taking the byte and clearing OWED: the next to settle waits for that bounded time.
#pragma once

#include <atomic>
#include <cstdint>

namespace treadle::channel {

template <class World>
class Doorbell {
public:
    // Before a sleep for messages, of which all below `index` are gone. Look once more after it. `stray`: there may be bytes
    // that were rung for room: since the last sleep was ended by a ring, for one.
    template <class Pipe>
    void settle(std::uint64_t index, Pipe&& own, bool stray) noexcept {
        std::uint64_t now = word_.load(std::memory_order_seq_cst);
        for (;;) {
            if ((now & kOwed) != 0) {
                own.take();
                stray = false;
                now = word_.fetch_and(~kOwed, std::memory_order_seq_cst) & ~kOwed;
            } else if ((now & kMessages) != 0) {
                // Else a sender might claim, and his byte be taken for a stray one.
                if (word_.compare_exchange_weak(now, now & ~kMessages, std::memory_order_seq_cst)) now &= ~kMessages;
            } else {
                if (stray) own.silence();
                const std::uint64_t from = now >> kShift > index ? now >> kShift : index;
                const std::uint64_t asked = (from << kShift) | (now & kFlags) | kMessages;
                if (word_.compare_exchange_weak(now, asked, std::memory_order_seq_cst)) return;
            }
        }
    }
    // After messages were published; all those sent so far are below `count`.
    // Returns whether it rang.
    template <class Pipe>
    bool ring_for_messages(std::uint64_t count, Pipe&& other) noexcept {
        if (!claim(count)) return false;
        other.ring();
        return true;
    }

    void want_room() noexcept { word_.fetch_or(kRoom, std::memory_order_seq_cst); }
    // After there has come to be room.
    template <class Pipe>
    void ring_for_room(Pipe&& other) noexcept {
        if ((word_.load(std::memory_order_seq_cst) & kRoom) != 0 &&
            (word_.fetch_and(~kRoom, std::memory_order_seq_cst) & kRoom) != 0)
            other.ring();
    }

    // Sets the sign of an exposed end right, after messages were taken or a sleep is over. `Ring` is that of messages.
    template <class Pipe, class Ring>
    void show(Pipe&& own, const Ring& ring) noexcept {
        if (!exposed()) return;
        if (ring.size() == 0) settle(ring.taken(), own, true);
        if (ring.size() != 0 && claim(ring.puts())) own.ring();
    }
    template <class Pipe, class Ring>
    void expose(Pipe&& own, const Ring& ring) noexcept {
        if (exposed()) return;
        word_.fetch_or(kExposed, std::memory_order_seq_cst);
        settle(ring.taken(), own, true);
        show(own, ring);
    }
    bool exposed() const noexcept { return (word_.load(std::memory_order_relaxed) & kExposed) != 0; }

private:
    static constexpr std::uint64_t kMessages = 1, kRoom = 2, kOwed = 4, kExposed = 8, kFlags = 15;
    static constexpr unsigned kShift = 4;

    bool claim(std::uint64_t count) noexcept {
        std::uint64_t now = word_.load(std::memory_order_seq_cst);
        while ((now & kMessages) != 0 && now >> kShift < count)
            if (word_.compare_exchange_weak(now, (now & ~kMessages) | kOwed, std::memory_order_seq_cst)) return true;
        return false;
    }

    typename World::template Atom<std::uint64_t> word_;
};

}  // namespace treadle::channel
