// SPDX-License-Identifier: BSD-2-Clause
//
// What there is to see of one vCPU, at one moment: its registers, its local APIC, the bytes at its
// RIP and its last exits; and as text, a screen of it or a line.
//
// A view is taken by the vCPU's own thread, for only that can read the registers; whoever it is for
// may look at it then.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kernel/abi/vcpu.h"
#include "vmm/board/memory.h"
#include "vmm/cpu/exit_ring.h"

enum view_state {
    VIEW_RUNNING,
    VIEW_HLT,     // behind a HLT that an interrupt ends: most likely in it
    VIEW_HALTED,  // in HLT, with interrupts off
    VIEW_WAITING, // for a start-up IPI
};

#define VIEW_CODE        16u // bytes that are shown,
#define VIEW_CODE_BEFORE 6u  // so many of them before RIP

struct view_lapic {
    bool seen; // it is in xAPIC mode, and could be read
    uint32_t tpr, svr, lint0, timer, current;
    int irr, isr; // the highest vector, or -1
};

struct view {
    unsigned id;
    int64_t status; // < 0: the registers could not be read
    enum view_state state;
    uint64_t tsc;
    uint64_t gpr[16];
    struct vcpu_sregs sregs;
    uint32_t entry_flags; // VM_ENTRY_*: what it was to be entered with
    uint8_t fault, intr;  // and these vectors
    struct view_lapic lapic;
    int16_t code[VIEW_CODE]; // -1: it cannot be read
    const char *no_code;     // why the byte at RIP cannot; NULL: it can
    struct exit_ring exits;
};

// Fills in view->code and no_code from sregs. Touches nothing of the guest's, not even the accessed
// bits of its page tables, which may be garbage.
void view_code(struct view *view, const struct guest_ram *ram);
// After view_code(): running, or behind a HLT.
enum view_state view_activity(const struct view *view);

#define VIEW_COLUMNS 74u // of 80: the console puts "[vmm] " in front
#define VIEW_LINES   24u
#define VIEW_TEXT    (VIEW_LINES * (VIEW_COLUMNS + 1) + 1)

// Why, and all of one vCPU: at most VIEW_LINES lines. `why` may take two of them, in place of the
// local APIC's. -> the text's length
size_t view_screen(const struct view *view, const char *why, char text[VIEW_TEXT]);
// One line.
size_t view_line(const struct view *view, char text[VIEW_COLUMNS + 2]);
