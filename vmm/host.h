// SPDX-License-Identifier: BSD-2-Clause
//
// The board's connections to the world: the kernel's clock and timer, the way to the vCPU, and the
// VM's console line, on which the VMM's own messages appear too.
// Where the VMM has several threads, the holder of its lock owns it.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "drivers/lib/ring.h"
#include "libc/start.h"
#include "vmm/board/machine.h"

struct host {
    handle_t event; // VMM_BIT_*
    handle_t timer; // signals VMM_BIT_TIMER
    handle_t vm;
    handle_t vcpu; // the boot processor, whose INTR line the PIC drives
    handle_t self;         // the event that the holder of the lock waits on: `event`, or its own
    uint32_t self_bit;     // then: which it is of
    uint32_t waiting;      // those whose event is to hear of VMM_BIT_CONSOLE too; atomic
    uint64_t arm_tsc;      // the timer's next deadline, which the first thread has yet to arm
    handle_t manager;      // its event
    uint64_t manager_bit;  // and there: this VM has something to say,
    handle_t notes;        // which is here: VMM_NOTE_*, or nothing: that it has halted for good
    struct start_line console;
    struct line line;
    bool in_line;         // the last byte on the console was not the end of a line
    bool message_in_line; // and it was one of ours
};

// `memory`: the console line, mapped. Messages (stdout, stderr) go there from now on.
void host_init(struct host *host, const struct start_line *console, void *memory);

// Fills in all but `wall_seconds`. host->event, timer, vm and vcpu must be set before the board is
// made.
void host_wires(struct host *host, struct machine_host *wires);

// Waits for bits of the own event; returns those taken.
uint64_t host_wait(struct host *host, uint64_t mask);
// Before a look at the console line after which the caller may wait: room there is told to him too.
void host_wants_room(struct host *host);
// On the first thread: tells those. events: of each
void host_has_room(struct host *host, const handle_t *events);
// On the first thread: VMM_BIT_ARM.
void host_arm_timer(struct host *host);

// Writes a part of a message. Lines get "[vmm] " in front and never start inside a guest's line.
void host_print(void *host, const char *text, uint32_t length);
