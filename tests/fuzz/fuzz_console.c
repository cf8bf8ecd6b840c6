// SPDX-License-Identifier: BSD-2-Clause
//
// The console on a fake UART against hostile VMs and keys. In the first part the merged view alone
// is held to its framing: every line on the wire begins with its source's name, no control sequence
// leaves the line, and each source's letters are all there, in their order. In the second the whole
// console runs with keys, views, a screen and a VM that scribbles in its rings: the transmitter is
// never overrun, the screen's cells hold what can be shown, and whatever is called ends.
#include <string.h>

#include "drivers/console/console.h"
#include "tests/fuzz/script.h"

#define MS 1000000ull

enum { SOURCES = 3, TEXT_MAX = 1 << 16, PORTION_MAX = 1024 };

// Letters of one source, as they were said and as they came out.
struct letters {
    unsigned said, shown;
    char text[TEXT_MAX];
};

struct terminal {
    struct merge merge;
    struct history history[SOURCES];
    struct history_view view[SOURCES];
    struct letters letters[SOURCES];
    struct escape said[SOURCES]; // where each source's own sequences are
    struct escape shown;         // on the wire
    char line[64];               // the beginning of the present line
    unsigned length;
    int source;                  // whose line it is; -1: not known yet
};

static const char *const names[SOURCES] = { "MANAGER", "ONE", "TWO" };

static void say(struct terminal *t, unsigned source, uint8_t byte, uint64_t now)
{
    struct letters *letters = &t->letters[source];

    if (history_unshown(&t->view[source]) >= HISTORY_UNSHOWN_MAX)
        return;
    if (escape_feed(&t->said[source], byte) == ESCAPE_TEXT && byte >= 'a' && byte <= 'z') {
        require(letters->said < TEXT_MAX);
        letters->text[letters->said++] = (char)byte;
    }
    history_put(&t->history[source], &byte, 1, now);
    merge_arrived(&t->merge, source, now);
}

// Which sequences may be on the wire: colours, erase to the end of the line, moves within it.
static void check_sequence(const struct escape *escape)
{
    uint8_t final = escape->bytes[escape->len - 1];

    require(escape->len >= 3 && escape->bytes[1] == '[' && !escape_is_query(escape));
    require(final == 'm' || final == 'K' || final == 'C' || final == 'D');
}

// The first bytes of a line must be a name and "| ".
static void check_prefix(struct terminal *t, uint8_t byte)
{
    size_t length;

    require(t->length < sizeof(t->line) - 1);
    t->line[t->length++] = (char)byte;
    t->line[t->length] = '\0';
    for (int i = 0; i < SOURCES; i++) {
        length = strlen(names[i]);
        if (t->length == length + 2 && strncmp(t->line, names[i], length) == 0 &&
            strcmp(t->line + length, "| ") == 0)
            t->source = i;
    }
    require(t->length < 16); // longer than any of them
}

static void wire(struct terminal *t, uint8_t byte)
{
    struct letters *letters;

    switch (escape_feed(&t->shown, byte)) {
    case ESCAPE_DONE:
        check_sequence(&t->shown);
        return;
    case ESCAPE_MORE:
        return;
    default:
        break;
    }
    if (byte == '\r' || byte == '\n') { // a carriage return goes behind the prefix, shown again
        t->length = 0;
        t->source = -1;
    } else if (byte == '\a') {
        return; // moves nothing
    } else if (t->source < 0) {
        check_prefix(t, byte);
    } else {
        require(byte >= 0x20 || byte == '\t' || byte == '\b');
        letters = &t->letters[t->source];
        if (byte >= 'a' && byte <= 'z') {
            require(letters->shown < letters->said);
            require(letters->text[letters->shown] == (char)byte);
            letters->shown++;
        }
    }
}

static void produce(struct terminal *t, uint32_t room, uint64_t now)
{
    uint8_t bytes[PORTION_MAX];
    uint32_t length;

    do {
        length = merge_produce(&t->merge, bytes, room, now);
        require(length <= room);
        for (uint32_t i = 0; i < length; i++)
            wire(t, bytes[i]);
    } while (length != 0);
}

static void merged_view(struct script *s)
{
    static struct terminal t;
    uint64_t now = 1000 * MS;
    unsigned source = 0;

    memset(&t, 0, sizeof(t));
    t.source = -1;
    merge_init(&t.merge, 0);
    for (unsigned i = 0; i < SOURCES; i++) {
        t.view[i].of = &t.history[i];
        merge_add(&t.merge, names[i], &t.view[i]);
    }
    while (s->left != 0) {
        uint8_t byte = (uint8_t)script_take(s, 1);
        if (byte >= 0xF0) { // something else than text
            source = byte % SOURCES;
            now += (byte & 8) != 0 ? script_take(s, 1) * MS : 1000;
            produce(&t, MERGE_STEP_MAX + (uint32_t)script_take(s, 1), now);
        } else {
            say(&t, source, byte, now);
        }
    }
    for (unsigned i = 0; i < SOURCES; i++) {
        say(&t, i, '\n', now); // also ends a sequence that was begun
    }
    t.merge.all_due = true;
    produce(&t, PORTION_MAX, now + 1000 * MS);
    for (unsigned i = 0; i < SOURCES; i++)
        require(t.letters[i].shown == t.letters[i].said);
}

// A 16550A whose transmitter is emptied by the script.
struct chip {
    uint8_t regs[8];
    unsigned in_fifo;
    uint8_t keys[16];
    unsigned key_count, key_next;
};

static uint8_t chip_in(void *opaque, uint8_t reg)
{
    struct chip *chip = opaque;
    bool data = chip->key_next < chip->key_count;

    switch (reg) {
    case 0:
        return data ? chip->keys[chip->key_next++] : 0;
    case 2:
        return data ? 0xC4 : 0xC1;
    case 5:
        return (data ? 0x01 : 0) | (chip->in_fifo == 0 ? 0x60 : 0);
    default:
        return chip->regs[reg];
    }
}

static void chip_out(void *opaque, uint8_t reg, uint8_t value)
{
    struct chip *chip = opaque;

    chip->regs[reg] = value;
    if (reg == 0 && (chip->regs[3] & 0x80) == 0) {
        require(chip->in_fifo < 16);
        chip->in_fifo++;
    }
}

static void signalled(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void drawn(void *opaque)
{
    ++*(unsigned *)opaque;
}

enum { COLUMNS = 7, ROWS = 3 };

struct system {
    struct term term;
    unsigned drawings;
    struct chip chip;
    struct console console;
    struct history history[SOURCES];
    struct line vm[SOURCES];
    uint64_t now;
    unsigned signals;
};

static uint16_t cells[ROWS * COLUMNS];
static uint8_t memory[SOURCES][CONSOLE_LINE_BYTES] __attribute__((aligned(4096)));

static void console_step(struct system *y, struct script *s)
{
    uint8_t op = (uint8_t)script_take(s, 1), bytes[32];
    unsigned line = (op >> 3) % SOURCES, count;

    switch (op & 7) {
    case 0 ... 2: // a VM writes
        count = (unsigned)script_take(s, 1) % sizeof(bytes);
        for (unsigned i = 0; i < count; i++)
            bytes[i] = (uint8_t)script_take(s, 1);
        require(line_write(&y->vm[line], bytes, count) <= count);
        break;
    case 3: // a VM reads its keys
        require(line_read(&y->vm[line], bytes, sizeof(bytes)) <= sizeof(bytes));
        break;
    case 4: // the user types
        y->chip.key_count = 1 + (unsigned)script_take(s, 1) % sizeof(y->chip.keys);
        y->chip.key_next = 0;
        for (unsigned i = 0; i < y->chip.key_count; i++)
            y->chip.keys[i] = (uint8_t)script_take(s, 1);
        break;
    case 5: // a VM scribbles in what it shares; not the manager
        if (line != 0)
            memory[line][(script_take(s, 3) * 4) % (CONSOLE_LINE_BYTES)] = (uint8_t)op;
        break;
    case 6:
        console_flush(&y->console, (op & 0x80) != 0);
        break;
    default:
        y->now += script_take(s, 2) * 10000;
        break;
    }
    y->chip.in_fifo = 0;
    require(console_run(&y->console, y->now, (op & 0x40) != 0) > 0);
    require(y->term.column <= COLUMNS && y->term.row < ROWS && y->term.top < ROWS);
    for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        require((cells[i] & 0xff) >= ' ' && (cells[i] & 0xff) != 0x7f && cells[i] >> 15 == 0);
}

static void whole_console(struct script *s)
{
    static struct system y;
    struct uart_port port = { chip_in, chip_out, &y.chip };

    memset(&y, 0, sizeof(y));
    memset(memory, 0, sizeof(memory));
    y.now = 1000 * MS;
    console_init(&y.console, &port, 1, 0, y.now);
    term_init(&y.term, cells, COLUMNS, ROWS);
    console_show(&y.console, &y.term, drawn, &y.drawings);
    for (unsigned i = 0; i < SOURCES; i++) {
        line_attach_vm(&y.vm[i], memory[i], signalled, &y.signals);
        console_add(&y.console, names[i], memory[i], &y.history[i], signalled, &y.signals);
    }
    while (s->left != 0)
        console_step(&y, s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = { data, size };

    if ((script_take(&script, 1) & 1) != 0)
        merged_view(&script);
    else
        whole_console(&script);
    return 0;
}
