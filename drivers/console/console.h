// SPDX-License-Identifier: BSD-2-Clause
// The console: one serial port, one line per VM, line 0 for the manager's monitor. It shows all
// lines merged or one of them alone, and hands the keys on. On a screen, if there is one, all lines
// are merged whatever the serial port shows; lines do not wait for it: where they bring more than
// can be drawn, some is passed over. No kernel calls: main.c has them.
//
// Keys go to the VM that has the screen; in the merged view to the one that had it last. Before any
// had it, to the one whose prompt was shown last, or else to the first. While one VM has the
// screen, the output of the others goes to their histories (HISTORY_SIZE each, oldest bytes first
// to go) and does not wait. Owned by the console's one thread.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "drivers/console/keys.h"
#include "drivers/console/merge.h"
#include "drivers/console/term.h"
#include "drivers/console/uart.h"
#include "drivers/lib/ring.h"

#define CONSOLE_REPLAY_LINES 40u // what a VM of 16 vCPUs shows of itself, too: 24 lines and 15
#define CONSOLE_REPLAY_BYTES 4096u
#define CONSOLE_MERGED       (-1)

struct console_line {
    char name[16];
    struct line line;
    struct history *history;
    struct history_view view;   // on the serial port
    struct history_view screen;
    uint64_t last_ns; // when bytes last arrived
    bool awake;       // it is looked at every now and then; its VM need not signal
};

// The merged view on the screen.
struct console_screen {
    struct term *term; // NULL: there is none
    struct merge merge;
    void (*draw)(void *opaque);
    void *opaque;
    uint64_t drawn_ns;
};

// What the console itself says; it goes out before anything else.
struct console_text {
    uint32_t len, sent;
    char bytes[2048];
};

struct console {
    struct uart uart;
    struct merge merge; // source i is line i
    struct console_screen screen;
    bool polled;        // no interrupt tells of the serial port
    struct keys keys;
    struct console_text text;
    struct escape replay;    // strips questions to the terminal from what is shown again
    uint64_t replay_end;     // offset at which the focused line is live
    int focus;               // the line that has the screen, or CONSOLE_MERGED
    uint32_t target;         // the VM that the merged view's keys are for
    uint32_t announced;      // the VM that they were last said to be for; 0: none
    bool chosen;             // by the user, or by its prompt when the first key came
    uint32_t lines;
    uint64_t now_ns;         // of the present call
    bool flushing;
    struct console_line line[MERGE_SOURCES_MAX];
};

// port and divisor: as for uart_init(). epoch_ns: the host time that stamps are relative to.
void console_init(struct console *console, const struct uart_port *port, uint32_t divisor,
                  uint64_t epoch_ns, uint64_t now_ns);

// It takes the place of one that has ended in the middle of anything.
void console_again(struct console *console);

// Has the merged view shown on a terminal too, and draw() called when that has changed. Before any
// line is added.
void console_show(struct console *console, struct term *term, void (*draw)(void *opaque),
                  void *opaque);

// Adds the next line. memory: CONSOLE_LINE_BYTES of shared memory; history: zeroed; both must stay.
void console_add(struct console *console, const char *name, void *memory,
                 struct history *history, void (*signal)(void *opaque), void *opaque);

// After an interrupt, a signal, or at the deadline: moves everything that can be moved. Returns the
// host time at which it wants to be called again if nothing happens before; MERGE_NEVER if none.
uint64_t console_run(struct console *console, uint64_t now_ns, bool interrupt);

// While on, nothing waits for silence; console_flushed() is true once all is on the wire.
void console_flush(struct console *console, bool on);
bool console_flushed(const struct console *console);
