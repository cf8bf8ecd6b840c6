// SPDX-License-Identifier: BSD-2-Clause
// Views, keys and the flow of bytes of the console; see console.h. Runs on the console's thread
// only.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "drivers/console/console.h"

#define CONSOLE_CHUNK    1024u
#define CONSOLE_LOST_NS  50000000ull // after this long without an interrupt the UART is looked at
#define CONSOLE_FLUSH_NS 1000000ull
// Pause in draining a line that floods out of sight, and between looks at one that need not signal.
#define CONSOLE_LOOK_NS  10000000ull
// Looks at a port without an interrupt: for keys, and while it sends, 16 bytes in 1.4 ms.
#define CONSOLE_KEYS_NS  10000000ull
#define CONSOLE_SEND_NS  1000000ull
#define CONSOLE_DRAW_NS  50000000ull // between drawings of the screen
// Portions of what is shown in one call, where no port holds it up; and on the screen in any.
#define CONSOLE_PORTIONS 8u

static const char console_help[] =
    "[Ctrl-] 1..9 or name Enter: one VM alone   a: all VMs   m: monitor\r\n"
    " t: times on or off   = name Enter: a VM whose name begins with a, m, t or a digit\r\n"
    " Ctrl-]: send Ctrl-]   ?: this help   Esc: never mind]\r\n";

__attribute__((format(printf, 2, 3)))
static void console_say(struct console *console, const char *format, ...)
{
    struct console_text *text = &console->text;
    uint32_t room = (uint32_t)sizeof(text->bytes) - text->len;
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text->bytes + text->len, room, format, arguments);
    va_end(arguments);
    if (len > 0) {
        text->len += (uint32_t)len < room ? (uint32_t)len : room - 1;
    }
}

// Ends what is on the terminal's line, so that the console's own text can follow.
static void console_break(struct console *console)
{
    uint8_t bytes[MERGE_STEP_MAX];
    if (console->focus == CONSOLE_MERGED) {
        uint32_t len = merge_break(&console->merge, bytes);
        console_say(console, "%.*s", (int)len, (const char *)bytes);
    } else {
        console_say(console, "\033[0m\r\n");
    }
}

static void console_list(struct console *console)
{
    console_say(console, "[VMs:");
    for (uint32_t i = 1; i < console->lines; i++) {
        console_say(console, " %u=%.15s", (unsigned)i, console->line[i].name);
    }
    console_say(console, "]\r\n");
}

// The merged view's keys: says whom they are for, unless the cursor stands in that VM's line.
static void console_target(struct console *console)
{
    int prompted = merge_prompted(&console->merge);
    if (!console->chosen && prompted > 0) {
        console->target = (uint32_t)prompted;
        console->chosen = true; // not in the middle of a word to another
    }
    if (console->merge.open == (int)console->target) {
        console->announced = console->target;
    }
    if (console->announced != console->target && console->lines > 2) {
        console->announced = console->target;
        console_break(console);
        console_say(console,
                    "[keys go to %s; Ctrl-] and a number or a name chooses another VM]\r\n",
                    console->line[console->target].name);
    }
}

static void console_hand_on(struct console *console, uint8_t byte)
{
    if (console->focus == CONSOLE_MERGED) {
        console_target(console);
    }
    uint32_t index = console->focus == 0 ? 0 : console->target;
    if (line_write(&console->line[index].line, &byte, 1) == 0) {
        console_say(console, "\a"); // the VM does not read its keys
    }
}

static void console_focus(struct console *console, uint32_t index)
{
    struct history_view *view = &console->line[index].view;
    console_break(console);
    console->focus = (int)index;
    if (index != 0) {
        console->target = console->announced = index;
        console->chosen = true;
    }
    console_say(console, "[%s; Ctrl-] a: all VMs, Ctrl-] ?: help]\r\n",
                index == 0 ? "monitor" : console->line[index].name);
    console->replay = (struct escape){0};
    console->replay_end = view->of->end;
    history_rewind(view, CONSOLE_REPLAY_LINES, CONSOLE_REPLAY_BYTES);
    if (index == 0) {
        console_hand_on(console, CONSOLE_REDRAW);
    }
}

static void console_merged(struct console *console)
{
    console_break(console);
    if (console->focus == CONSOLE_MERGED) {
        return;
    }
    console->focus = CONSOLE_MERGED;
    console_say(console, "[all VMs; keys go to %s]\r\n", console->line[console->target].name);
    console->announced = console->target;
    merge_restart(&console->merge);
}

static void console_focus_named(struct console *console)
{
    for (uint32_t i = 0; i < console->lines; i++) {
        if (strcmp(console->keys.name, console->line[i].name) == 0) {
            console_focus(console, i);
            return;
        }
    }
    if (console->keys.number > 0 && console->keys.number < console->lines) {
        console_focus(console, console->keys.number);
        return;
    }
    console_break(console);
    console_say(console, "[no VM is called '%s']\r\n", console->keys.name);
    console_list(console);
}

static void console_key(struct console *console, uint8_t byte)
{
    switch (keys_feed(&console->keys, byte)) {
    case KEYS_NONE:
        break;
    case KEYS_BYTE:
        console_hand_on(console, console->keys.byte);
        break;
    case KEYS_FOCUS:
        if (console->keys.number < console->lines) {
            console_focus(console, console->keys.number);
            break;
        }
        console_break(console);
        console_say(console, "[there is no VM %u]\r\n", (unsigned)console->keys.number);
        console_list(console);
        break;
    case KEYS_NAMED:
        console_focus_named(console);
        break;
    case KEYS_ALL:
        console_merged(console);
        break;
    case KEYS_MONITOR:
        console_focus(console, 0);
        break;
    case KEYS_TIMES:
        console->merge.times = !console->merge.times;
        break;
    case KEYS_HELP:
    case KEYS_UNKNOWN:
        console_break(console);
        console_say(console, "%s", console_help);
        console_list(console);
        break;
    }
}

static void console_receive(void *opaque, uint8_t byte)
{
    console_key(opaque, byte);
}

void console_init(struct console *console, const struct uart_port *port, uint32_t divisor,
                  uint64_t epoch_ns, uint64_t now_ns)
{
    *console = (struct console){.focus = CONSOLE_MERGED, .now_ns = now_ns};
    merge_init(&console->merge, epoch_ns);
    merge_init(&console->screen.merge, epoch_ns);
    uart_init(&console->uart, port, divisor, console_receive, console);
}

void console_again(struct console *console)
{
    console_say(console, "\033[0m\r\n");
}

void console_show(struct console *console, struct term *term, void (*draw)(void *opaque),
                  void *opaque)
{
    console->screen.term = term;
    console->screen.draw = draw;
    console->screen.opaque = opaque;
}

void console_add(struct console *console, const char *name, void *memory,
                 struct history *history, void (*signal)(void *opaque), void *opaque)
{
    if (console->lines == MERGE_SOURCES_MAX) {
        return;
    }
    struct console_line *line = &console->line[console->lines++];
    snprintf(line->name, sizeof(line->name), "%s", name);
    line->history = history;
    line_attach_console(&line->line, memory, signal, opaque);
    line->view = line->screen = (struct history_view){.of = history};
    merge_add(&console->merge, line->name, &line->view);
    if (console->screen.term != NULL) {
        merge_add(&console->screen.merge, line->name, &line->screen);
    }
    if (console->lines == 2) {
        console->target = 1;
    }
}

// A VM that prints does so byte by byte: for 10 ms after each the console looks by itself, and only
// then asks to be signalled again.
static uint32_t console_take(struct console *console, struct console_line *line, uint8_t *bytes,
                             uint32_t len)
{
    uint32_t got = line_take(&line->line, bytes, len);
    if (got == 0 && !(line->awake && console->now_ns - line->last_ns < CONSOLE_LOOK_NS)) {
        line->awake = false;
        got = line_read(&line->line, bytes, len);
    }
    if (got > 0) {
        line->last_ns = console->now_ns;
        line->awake = true;
    }
    return got;
}

// Moves a line's bytes from its ring to its history. True: there may be more.
static bool console_fill_line(struct console *console, uint32_t index)
{
    struct console_line *line = &console->line[index];
    bool seen = console->focus == CONSOLE_MERGED || console->focus == (int)index;
    uint32_t budget = HISTORY_UNSHOWN_MAX;
    uint8_t bytes[CONSOLE_CHUNK];
    while (budget > 0) {
        uint64_t room = HISTORY_UNSHOWN_MAX - history_unshown(&line->view);
        if (seen && history_unshown(&line->view) >= HISTORY_UNSHOWN_MAX) {
            return false; // it goes on when some of this has been shown
        }
        uint32_t want = seen && room < CONSOLE_CHUNK ? (uint32_t)room : CONSOLE_CHUNK;
        uint32_t got = console_take(console, line, bytes, want);
        if (got > 0) {
            history_put(line->history, bytes, got, console->now_ns);
            merge_arrived(&console->merge, index, console->now_ns);
            merge_arrived(&console->screen.merge, index, console->now_ns);
        }
        if (!seen) {
            history_skip(&line->view);
        }
        if (got < want) {
            return false;
        }
        budget -= want < budget ? want : budget;
    }
    return true;
}

static uint32_t console_produce_focused(struct console *console, uint8_t *bytes, uint32_t size)
{
    struct history_view *view = &console->line[console->focus].view;
    uint32_t len = 0;
    while (size - len > ESCAPE_MAX && history_unshown(view) > 0) {
        bool again = view->shown < console->replay_end;
        uint8_t byte = history_next(view);
        enum escape_result result = again ? escape_feed(&console->replay, byte) : ESCAPE_TEXT;
        if (result == ESCAPE_TEXT) {
            bytes[len++] = byte;
        } else if (result == ESCAPE_DONE && !escape_is_query(&console->replay) &&
                   !console->replay.cut) {
            memcpy(bytes + len, console->replay.bytes, console->replay.len);
            len += console->replay.len;
        }
    }
    return len;
}

static uint32_t console_produce(struct console *console, uint8_t *bytes, uint32_t size)
{
    struct console_text *text = &console->text;
    if (text->sent < text->len) {
        uint32_t len = text->len - text->sent < size ? text->len - text->sent : size;
        memcpy(bytes, text->bytes + text->sent, len);
        text->sent += len;
        if (text->sent == text->len) {
            text->sent = text->len = 0;
        }
        return len;
    }
    if (console->focus == CONSOLE_MERGED) {
        return merge_produce(&console->merge, bytes, size, console->now_ns);
    }
    return console_produce_focused(console, bytes, size);
}

// Brings the screen up to date. -> the host time at which to look again; MERGE_NEVER if never
static uint64_t console_screen(struct console *console)
{
    struct console_screen *screen = &console->screen;
    uint8_t bytes[CONSOLE_CHUNK];
    uint32_t len, portions = 0;
    if (screen->term == NULL) {
        return MERGE_NEVER;
    }
    for (uint32_t i = 0; i < console->lines; i++) {
        history_hurry(&console->line[i].screen);
    }
    do {
        len = merge_produce(&screen->merge, bytes, sizeof(bytes), console->now_ns);
        term_write(screen->term, bytes, len);
    } while (len > 0 && ++portions < CONSOLE_PORTIONS);
    uint64_t look = len > 0 ? console->now_ns + CONSOLE_LOOK_NS
                            : merge_deadline(&screen->merge, console->now_ns);
    if (!screen->term->changed) {
        return look;
    }
    uint64_t due = screen->drawn_ns + CONSOLE_DRAW_NS;
    if (console->now_ns < due && !console->flushing) {
        return due < look ? due : look;
    }
    screen->term->changed = false;
    screen->drawn_ns = console->now_ns;
    screen->draw(screen->opaque);
    return look;
}

static bool console_awake(const struct console *console)
{
    for (uint32_t i = 0; i < console->lines; i++) {
        if (console->line[i].awake) {
            return true;
        }
    }
    return false;
}

static uint64_t console_deadline(const struct console *console, bool more)
{
    uint64_t deadline = MERGE_NEVER, pause = MERGE_NEVER;
    if (console->focus == CONSOLE_MERGED) {
        deadline = merge_deadline(&console->merge, console->now_ns);
    }
    if (console->flushing) {
        pause = CONSOLE_FLUSH_NS;
    } else if (more || console_awake(console)) {
        pause = CONSOLE_LOOK_NS;
    } else if (uart_busy(&console->uart)) {
        pause = CONSOLE_LOST_NS;
    }
    if (console->polled && console->uart.there) {
        uint64_t look = uart_busy(&console->uart) ? CONSOLE_SEND_NS : CONSOLE_KEYS_NS;
        pause = look < pause ? look : pause;
    }
    if (pause != MERGE_NEVER && console->now_ns + pause < deadline) {
        deadline = console->now_ns + pause;
    }
    return deadline;
}

uint64_t console_run(struct console *console, uint64_t now_ns, bool interrupt)
{
    uint8_t bytes[UART_QUEUE];
    bool more = false;
    uint32_t len, portions = 0;
    console->now_ns = now_ns;
    if (interrupt) {
        uart_interrupt(&console->uart);
    } else {
        uart_poll(&console->uart);
    }
    do {
        // Also while the port is busy, so that stamps say when bytes came and not when the port
        // was ready for them. What is not shown yet is bounded: lines fill up behind it.
        more = false;
        for (uint32_t i = 0; i < console->lines; i++) {
            more |= console_fill_line(console, i);
        }
        if (uart_room(&console->uart) < UART_QUEUE / 2) {
            break;
        }
        len = console_produce(console, bytes, uart_room(&console->uart));
        uart_send(&console->uart, bytes, len);
        if (len > 0 && !console->uart.there && ++portions == CONSOLE_PORTIONS) {
            more = true;
            break;
        }
    } while (len > 0);
    uint64_t drawing = console_screen(console), deadline = console_deadline(console, more);
    return drawing < deadline ? drawing : deadline;
}

void console_flush(struct console *console, bool on)
{
    console->flushing = on;
    console->merge.all_due = console->screen.merge.all_due = on;
}

bool console_flushed(const struct console *console)
{
    for (uint32_t i = 0; i < console->lines; i++) {
        if (line_used(&console->line[i].line) > 0 ||
            history_unshown(&console->line[i].view) > 0 ||
            (console->screen.term != NULL && history_unshown(&console->line[i].screen) > 0)) {
            return false;
        }
    }
    return console->text.len == 0 && uart_drained(&console->uart);
}
