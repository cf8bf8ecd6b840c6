// SPDX-License-Identifier: BSD-2-Clause
//
// Debug port 0xE9: each byte written goes to a stream; a read answers 0xE9, which is how a guest
// knows that the port is there. Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/dev/stream.h"

enum { DEBUGCON_PORT = 0xE9 };

struct debugcon {
    struct stream stream;
};

void debugcon_init(struct debugcon *con, struct stream stream);

// Claims port 0xE9.
bool debugcon_register(struct debugcon *con, struct bus *bus);
