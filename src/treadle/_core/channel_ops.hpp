// channel_ops.hpp: an end of a channel as this process holds it; the loop that sleeps at its doorbell.
//
// As await.hpp: attempt, spin, let go of the interpreter, sleep for a bounded time. But it sleeps in poll(2), so that the
// death of the other end wakes it at once. Of the threads that sleep at one end in this process one watches the
// descriptors (the sentry), since whoever takes a byte out of the pipe would take the wake-up of all; the others sleep on
// `pulse`, which the sentry moves whenever it has woken or leaves.
#pragma once

#include <atomic>
#include <cstdint>

#include "await.hpp"
#include "bell_files.hpp"
#include "objects.hpp"
#include "queue_ops.hpp"
#include "treadle/channel/channel.hpp"
#include "treadle/channel/taking.hpp"
#include "treadle/platform/pipe.hpp"
#include "treadle/tasks/lot.hpp"

namespace treadle::core {

using ChannelState = channel::ChannelState<SharedWorld>;
using platform::BellWait;
using platform::PrivateWorld;

// The ends whose calls this thread is in, the latest last: where it forks, it is the only one that its child has. Of more
// calls within one another than have room here, the child forgets the outer ones.
struct CallsOfThread {
    static constexpr unsigned kMost = 8;
    const void* ends[kMost];
    unsigned count;
};
inline constinit thread_local CallsOfThread tls_calls{};

// How many calls of an end are under way in this process; the interpreter's lock guards it. A child of fork begins with
// those of the thread that forked: the others do not exist there, and will never end.
class EndUsers {
public:
    std::uint32_t count() noexcept {
        if (epoch_ != platform::private_epoch) {
            epoch_ = platform::private_epoch;
            count_ = 0;
            for (unsigned i = 0; i < tls_calls.count; ++i) count_ += tls_calls.ends[i] == this;
        }
        return count_;
    }
    void enter() noexcept {
        count_ = count() + 1;
        if (tls_calls.count != CallsOfThread::kMost) tls_calls.ends[tls_calls.count++] = this;
    }
    // Returns how many are left.
    std::uint32_t leave() noexcept {
        const std::uint32_t before = count();
        for (unsigned i = tls_calls.count; i-- != 0;) {
            if (tls_calls.ends[i] != this) continue;
            for (--tls_calls.count; i < tls_calls.count; ++i) tls_calls.ends[i] = tls_calls.ends[i + 1];
            break;
        }
        return count_ = before != 0 ? before - 1 : 0;
    }

private:
    std::uint32_t count_ = 0;
    std::uint64_t epoch_ = 0;
};

struct ChannelEnd {
    Handle handle;
    std::uint32_t side;
    int bell = -1;   // read: it wakes those who sleep at this end
    int other = -1;  // write: the other end's bell
    EndUsers users;
    std::atomic<std::uint32_t> pulse{0};
    std::atomic<std::uint32_t> followers{0};
    std::atomic<std::int32_t> sentry{0};  // pid of the process whose thread it is: a fork leaves it behind
};

inline ChannelState* channel_of(const ChannelEnd& e) noexcept { return reinterpret_cast<ChannelState*>(e.handle.block); }
inline RingQueue ring_towards(const ChannelEnd& e, std::uint32_t side) noexcept {
    auto* block = e.handle.mapping->arena.heap.block_at(channel_of(e)->rings[side]);
    return RingQueue(reinterpret_cast<RingState*>(block), *e.handle.mapping);
}
inline RingQueue inbox(const ChannelEnd& e) noexcept { return ring_towards(e, e.side); }
inline RingQueue outbox(const ChannelEnd& e) noexcept { return ring_towards(e, 1 - e.side); }
inline bool can_receive(const ChannelEnd& e) noexcept { return channel_of(e)->rings[e.side] != 0; }
inline bool can_send(const ChannelEnd& e) noexcept { return channel_of(e)->rings[1 - e.side] != 0; }

// In the arena of names its ends are yet to be taken.
inline bool make_channel(Mapping* m, Token token, bool duplex, std::uint64_t max_bytes, const char* label, Handle& h) noexcept {
    return make_block(m, token, h, [&]() -> SharedBlock* {
        const std::uint32_t come = m->named() ? channel::kNobodyYet : channel::kBothEnds;
        ChannelState* state = channel::make<SharedWorld>(*m, duplex, max_bytes, come);
        if (state == nullptr) return nullptr;
        copy_label(state->label, sizeof state->label, label);
        return &state->block;
    });
}

inline bool has_come(const ChannelEnd& e, std::uint32_t side) noexcept { return channel::has_come(*channel_of(e), side); }
// Has everybody gone who held the other end?
inline bool is_deserted(const ChannelEnd& e) noexcept { return channel::is_deserted(*channel_of(e), e.side, e.other); }

// Takes that end of a channel that has a name. False: see `refused`; what was opened goes when the end does.
inline bool take_end(ChannelEnd& e, platform::Refused& refused) noexcept {
    BellPath own, other;
    Mapping* const m = e.handle.mapping;
    const Offset offset = m->arena.heap.offset_of_block(e.handle.block);
    Named::tell_of_leaving(remove_bells_at_leave);
    if (!write_bell_path(m, offset, e.handle.serial, e.side, own) || !write_bell_path(m, offset, e.handle.serial, 1 - e.side, other)) {
        refused = {platform::Refusal::system, ENAMETOOLONG};
        return false;
    }
    return channel::take_end(*channel_of(e), e.side, own, other, e.bell, e.other, refused);
}
// Drops the reference; with the last one go the bells' files, which the channel has if it is one with a name.
inline void drop_end(ChannelEnd& e) noexcept {
    const Handle was = e.handle;
    const bool named = was.mapping != nullptr && was.mapping->member() && was.mapping->named();
    drop_object(e.handle);
    if (!named) return;
    const Offset offset = was.mapping->arena.heap.offset_of_block(was.block);
    if (block_is_there(was.mapping, offset, was.serial)) return;
    BellPath path;
    for (std::uint32_t side = 0; side < 2; ++side)
        if (write_bell_path(was.mapping, offset, was.serial, side, path)) platform::remove_path(path);
}

// The bells' pipes as this end holds them.
struct OwnBell {
    int read_end;
    void silence() noexcept { platform::silence_bell(read_end); }
    void take() noexcept { platform::take_ring(read_end); }
    void ring() noexcept { platform::ring_own_bell(read_end); }
};
struct OtherBell {
    int write_end;
    bool heard = true;
    void ring() noexcept { heard = platform::ring_bell(write_end); }
};

inline auto& bell_of(const ChannelEnd& e) noexcept { return channel_of(e)->ends[e.side].bell; }
inline auto& bell_of_other(const ChannelEnd& e) noexcept { return channel_of(e)->ends[1 - e.side].bell; }
inline void show_inbox(const ChannelEnd& e) noexcept {
    if (can_receive(e)) bell_of(e).show(OwnBell{e.bell}, inbox(e));
}
inline void expose_end(const ChannelEnd& e) noexcept {
    if (can_receive(e)) bell_of(e).expose(OwnBell{e.bell}, inbox(e));
}

enum class Want { messages, room };

// One thread's stay at the bell.
class BellStay {
public:
    BellStay(ChannelEnd& e, Want what) noexcept : e_(e), what_(what), pid_(e.handle.mapping->system.pid) {}
    ~BellStay() {
        if (!entered_) return;
        if (is_sentry_) e_.sentry.store(0, std::memory_order_seq_cst);
        else e_.followers.fetch_sub(1, std::memory_order_relaxed);
        move_pulse();  // another becomes sentry
        show_inbox(e_);
    }
    BellStay(const BellStay&) = delete;
    BellStay& operator=(const BellStay&) = delete;

    // Says that this caller is about to sleep; it attempts once more before it does.
    void prepare() noexcept {
        if (!entered_) e_.followers.fetch_add(1, std::memory_order_relaxed);
        entered_ = true;
        pulse_ = e_.pulse.load(std::memory_order_seq_cst);
        if (!is_sentry_) take_watch();
        auto& bell = bell_of(e_);
        // A selector takes every byte for a message. So beside one a sender naps.
        heeding_ = what_ == Want::messages || !bell.exposed();
        if (is_sentry_ && heeding_) {
            if (can_receive(e_)) bell.settle(inbox(e_).taken(), OwnBell{e_.bell}, rung_);  // for all who sleep here
            else if (rung_) platform::silence_bell(e_.bell);
        }
        if (is_sentry_) move_pulse();  // the byte may have been another's
        if (what_ == Want::room && heeding_) bell.want_room();
    }
    BellWait rest(std::int64_t nanoseconds) noexcept {
        if (!heeding_ && nanoseconds > kNap) nanoseconds = kNap;
        if (is_sentry_) {
            const int other = has_come(e_, 1 - e_.side) ? e_.other : -1;
            const BellWait woken = platform::await_bell(e_.bell, other, nanoseconds, heeding_);
            rung_ = woken == BellWait::rung;
            return woken;
        }
        switch (PrivateWorld::wait(&e_.pulse, pulse_, nanoseconds)) {
            case FutexWait::timeout: return BellWait::timeout;
            case FutexWait::interrupted: return BellWait::interrupted;
            default: return BellWait::rung;
        }
    }
private:
    static constexpr std::int64_t kNap = 1'000'000;

    void take_watch() noexcept {
        std::int32_t found = e_.sentry.load(std::memory_order_relaxed);
        if (found == pid_ || !e_.sentry.compare_exchange_strong(found, pid_, std::memory_order_seq_cst)) return;
        is_sentry_ = true;
        e_.followers.fetch_sub(1, std::memory_order_relaxed);
    }
    void move_pulse() noexcept {
        e_.pulse.fetch_add(1, std::memory_order_seq_cst);
        if (e_.followers.load(std::memory_order_seq_cst) != 0) PrivateWorld::wake_threads(&e_.pulse, word::kWakeAll);
    }

    ChannelEnd& e_;
    Want what_;
    std::int32_t pid_;
    std::uint32_t pulse_ = 0;
    bool entered_ = false, is_sentry_ = false, heeding_ = true, rung_ = false;
};

// Attempts until the machine says something else than `blocked` or `waiting`: its word, kTimeout, kInterrupted, or
// Result::gone: the other end's holders have all gone, which was seen before the last attempt. What is received is still to
// be had then; to send is in vain.
template <class Attempt>
int await_end(ChannelEnd& e, Token token, Want what, Attempt attempt, Result waiting, std::int64_t timeout) noexcept {
    const auto goes_on = [waiting](Result r) { return r == Result::blocked || r == waiting; };
    Mapping* mapping = e.handle.mapping;
    Mapping::Caller who{token, false, mapping};
    Wait wait;
    wait.announce = false;
    Result result = attempt(who, wait);
    if (!goes_on(result)) return static_cast<int>(result);
    if (timeout == 0 && result == waiting) {
        const bool deserted = is_deserted(e);
        result = attempt(who, wait);
        if (result == waiting) return deserted ? static_cast<int>(Result::gone) : kTimeout;
        if (!goes_on(result)) return static_cast<int>(result);
    }
    const int spins = spinning_helps() && timeout != 0 ? kSpinsHeld : 0;
    for (int i = 0; i < spins; ++i) {
        SharedWorld::pause();
        result = attempt(who, wait);
        if (!goes_on(result)) return static_cast<int>(result);
    }
    const Deadline deadline(timeout);
    WaitingNote note(mapping, token, place_of(e.handle));
    InterpreterReleased released;
    const auto served = [&] { return !goes_on(result = attempt(who, wait)); };
    if (timeout != 0 && spin_released(released, served, [] { return false; })) return static_cast<int>(result);
    std::int64_t slice = kFirstSlice, checked = platform::now();
    bool deserted = false, expired = timeout == 0, interrupted = false;
    BellStay stay(e, what);
    while (goes_on(result)) {
        if (expired) deserted = deserted || is_deserted(e);
        else stay.prepare();
        result = attempt(who, wait);
        if (!goes_on(result)) break;
        if (result == Result::blocked && wait.section) {
            // An internal section in the way says nothing about the channel.
            wait.announce = true;
            result = attempt(who, wait);
            if (result == Result::blocked && wait.section)
                who.look = SharedWorld::wait(wait.word, wait.expected, kSectionSlice, wait.bits) == FutexWait::timeout;
            wait.announce = false;
            if (goes_on(result)) result = waiting;
        } else if (deserted) {
            result = Result::gone;
            break;
        } else if (expired) {
            break;
        }
        const std::int64_t now = platform::now();
        if (interrupted || now - checked > kSignalsEvery) {
            released.take();
            if (PyErr_CheckSignals() != 0) return kInterrupted;
            note.renew();
            released.release();
            checked = now;
            interrupted = false;
        }
        if (!goes_on(result) || wait.section) continue;
        const std::int64_t left = deadline.left();
        if (left == 0) {
            expired = true;  // one last attempt
            continue;
        }
        const BellWait woken = stay.rest(left < slice ? left : slice);
        deserted = woken == BellWait::deserted;
        interrupted = woken == BellWait::interrupted;
        who.look = woken == BellWait::timeout;
        if (woken == BellWait::timeout) {
            if (slice < kLongestSlice) slice *= 2;
            if (mapping->sweep_due()) mapping->sweep();  // a program may only wait, and make nothing
        }
    }
    return goes_on(result) ? kTimeout : static_cast<int>(result);
}

// After a message was put: done, or gone, which is if it lies in a ring that nobody reads any more; who rings learns that
// by the way. (It may also have been received by who has gone since.)
inline int sent(const ChannelEnd& e) noexcept {
    OtherBell other{e.other};
    const bool heard = bell_of_other(e).ring_for_messages(outbox(e).puts(), other) ? other.heard
                                                                                 : !is_deserted(e);
    return static_cast<int>(heard || outbox(e).size() == 0 ? Result::done : Result::gone);
}
inline int received(const ChannelEnd& e) noexcept {
    bell_of_other(e).ring_for_room(OtherBell{e.other});
    show_inbox(e);
    return static_cast<int>(Result::done);
}

// Of a channel with a name the other end may be taken again: then nothing may lie there of a send that has failed.
inline bool waits_for_successor(const ChannelEnd& e) noexcept { return e.handle.mapping->named() && is_deserted(e); }

inline int channel_send(ChannelEnd& e, Token token, const char* frame) noexcept {
    Taken accepted;
    if (waits_for_successor(e)) return static_cast<int>(Result::gone);
    const int result = with_memory_of_the_dead(e.handle, [&] {
        return await_end(
            e, token, Want::room, [&](auto& who, Wait& wait) { return outbox(e).attempt_put(who, frame, 1, accepted, wait); },
            Result::full, kForever);
    });
    return result == static_cast<int>(Result::done) ? sent(e) : result;
}
inline int channel_receive(ChannelEnd& e, Token token, char* out, Taken* got) noexcept {
    const int result = with_memory_of_the_dead(e.handle, [&] {
        return await_end(
            e, token, Want::messages,
            [&](auto& who, Wait& wait) { return inbox(e).attempt_get(who, 1, out, kLargestFrameBytes, *got, wait); },
            Result::empty, kForever);
    });
    return result == static_cast<int>(Result::done) ? received(e) : result;
}
// done: a message, or the end, is there.
inline int channel_poll(ChannelEnd& e, Token token, std::int64_t timeout) noexcept {
    const int result = await_end(
        e, token, Want::messages, [&](auto&, Wait&) { return inbox(e).size() != 0 ? Result::done : Result::empty; },
        Result::empty, timeout);
    return result == static_cast<int>(Result::gone) ? static_cast<int>(Result::done) : result;
}

// For tasks, which wait at the rings' own gates: they learn of a close() at once, of a death when they next look.
inline int channel_send_attempt(const ChannelEnd& e, Token token, bool look, const char* frame, Wait* wait) noexcept {
    Taken accepted;
    if (waits_for_successor(e)) return static_cast<int>(Result::gone);
    const int result = with_memory_of_the_dead(e.handle, [&] {
        Mapping::Caller who{token, look, e.handle.mapping};
        return static_cast<int>(outbox(e).attempt_put(who, frame, 1, accepted, *wait));
    });
    if (result == static_cast<int>(Result::done)) return sent(e);
    return is_deserted(e) ? static_cast<int>(Result::gone) : result;
}
inline int channel_receive_attempt(const ChannelEnd& e, Token token, bool look, char* out, Taken* got, Wait* wait) noexcept {
    const bool deserted = is_deserted(e);  // before: what was sent until then is still received
    const int result = with_memory_of_the_dead(e.handle, [&] {
        Mapping::Caller who{token, look, e.handle.mapping};
        return static_cast<int>(inbox(e).attempt_get(who, 1, out, kLargestFrameBytes, *got, *wait));
    });
    if (result == static_cast<int>(Result::done)) return received(e);
    return deserted && result == static_cast<int>(Result::empty) ? static_cast<int>(Result::gone) : result;
}
inline bool is_doubtful(const tasks::Place& place) noexcept {
    return is_deserted(*static_cast<const ChannelEnd*>(place.subject));
}
inline void doubt_channel(tasks::Place& place, const ChannelEnd& e) noexcept {
    place.doubt = is_doubtful;
    place.subject = &e;
}
// This end's descriptors have just been closed: whoever waits at the gates looks again.
inline void tell_of_close(const ChannelEnd& e) noexcept {
    for (std::uint32_t side = 0; side < 2; ++side) {
        if (channel_of(e)->rings[side] == 0) continue;
        auto* ring = reinterpret_cast<RingState*>(e.handle.mapping->arena.heap.block_at(channel_of(e)->rings[side]));
        ring->getters.ring_for_all();
        ring->putters.ring_for_all();
    }
}

struct ChannelFigures {
    std::uint64_t received, incoming, incoming_bytes, sent, outgoing, outgoing_bytes;
    bool exposed;
};
inline void channel_figures(const ChannelEnd& e, ChannelFigures& f) noexcept {
    f = ChannelFigures{};
    f.exposed = channel_of(e)->ends[e.side].bell.exposed();
    if (can_receive(e)) {
        const RingQueue in = inbox(e);
        f.received = in.taken();
        f.incoming = in.size();
        f.incoming_bytes = in.bytes();
    }
    if (can_send(e)) {
        const RingQueue out = outbox(e);
        f.sent = out.puts();
        f.outgoing = out.size();
        f.outgoing_bytes = out.bytes();
    }
}
inline const char* channel_label(const ChannelEnd& e) noexcept { return channel_of(e)->label; }

}  // namespace treadle::core
