// channel/taking.hpp: an end of a channel that has a name is taken, by who knows nothing of the other but the paths of the bells.
//
// Promise: from the instant that an end counts as come, the kernel tells whether somebody holds it: at no step can a death
// make it seem held, or to have never come once the other side has heard of it.
//
//   step                                 death after it
//   this end's bell is open, to hear     as if it had not come: nobody asks the kernel before
//   come                     (publish)   has come and gone: seen at the other's next look
//   the other's bell is open, to ring    the same, seen at once
//
// The bit is set before the end can ring: a bell whose last ringer has gone wakes who sleeps at it again and again, which
// must then see that the other end has come, and gone.
#pragma once

#include <atomic>
#include <cstdint>

#include "../platform/bell_file.hpp"
#include "../platform/pipe.hpp"
#include "channel.hpp"

namespace treadle::channel {

template <class World>
bool has_come(const ChannelState<World>& channel, std::uint32_t side) noexcept {
    return (channel.come.load(std::memory_order_seq_cst) >> side & 1) != 0;
}
// Seen from `side`, which rings by `other`: has everybody gone who held the other end? Where it has not come yet, somebody is
// still expected.
template <class World>
bool is_deserted(const ChannelState<World>& channel, std::uint32_t side, int other) noexcept {
    return has_come(channel, 1 - side) && platform::is_deserted(other);
}

// Takes an end: its bell, and the other's, at their paths. The descriptors that were opened are the caller's, also if the
// result is false; then see `refused`.
template <class World>
bool take_end(ChannelState<World>& channel, std::uint32_t side, const char* own_path, const char* other_path, int& bell, int& other,
              platform::Refused& refused) noexcept {
    bell = platform::open_bell_file(own_path, platform::BellEnd::hears, refused);
    if (bell < 0) return false;
    channel.come.fetch_or(1u << side, std::memory_order_seq_cst);  // SYNC come→look: that this end is heard (publish)
    other = platform::open_bell_file(other_path, platform::BellEnd::rings, refused);
    if (other < 0) return false;
    if (is_deserted(channel, side, other)) platform::touch_bell_file(own_path);
    return true;
}

}  // namespace treadle::channel
