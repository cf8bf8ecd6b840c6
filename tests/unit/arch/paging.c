// SPDX-License-Identifier: BSD-2-Clause
// The fake architecture's page tables (see fake.h). Four levels of 512 entries.
#include <string.h>
#include "tests/unit/arch/fake.h"
#include "tests/unit/arch/hardware.h"
#include "tests/unit/fake_x86/kernel/arch/x86/x86.h"

#define ENTRY_PRESENT 1u
#define ENTRY_LEAF    2u
#define ENTRY_PROT    2 // shift
#define LEVELS        HW_LEVELS
#define PIECE         256   // steps of work on tables

// Who reads an entry at another level than it was written for finds it absent or garbage.
static uint64_t rotate(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}
static uint64_t encode(uint64_t v, unsigned level) { return rotate(v, level * 7 + 5); }
static uint64_t decode(uint64_t v, unsigned level) { return rotate(v, 64 - (level * 7 + 5)); }

static unsigned index_of(uint64_t a, unsigned level) { return a >> (12 + 9 * level) & 511; }
static uint64_t span(unsigned level) { return 1ull << (12 + 9 * level); }
static uint64_t address_of(uint64_t entry) { return entry & ~0xfffull; }

static uint64_t *table_at(uint64_t frame) { return arch_ptr(HPA(frame)); }

static enum status table_new(struct space *s, struct hpa *out)
{
    if (!process_charge(s->payer, PAGE_SIZE))
        return ERR_QUOTA;
    if (!frames_alloc_kernel(1, s->owner_id, out)) {
        process_uncharge(s->payer, PAGE_SIZE);
        return ERR_MEMORY;
    }
    memset(arch_ptr(*out), 0, PAGE_SIZE);
    return OK;
}

static void table_free(struct space *s, uint64_t frame)
{
    frames_free_kernel(HPA(frame), 1);
    process_uncharge(s->payer, PAGE_SIZE);
}

enum status arch_space_init(struct space *s)
{
    enum status status = table_new(s, &s->arch.root);
    if (status != OK || s->is_vm)
        return status;
    status = cr3_make(s);
    if (status != OK)
        table_free(s, s->arch.root.v);
    return status;
}

// One table of the lowest level that has any; false: there was none below this one.
static bool free_one(struct space *s, uint64_t frame, unsigned level)
{
    for (unsigned i = 0; level && i < 512; i++) {
        uint64_t e = decode(table_at(frame)[i], level);
        if (!e || (e & ENTRY_LEAF))
            continue;
        if (!free_one(s, address_of(e), level - 1)) {
            table_at(frame)[i] = 0;
            table_free(s, address_of(e));
        }
        return true;
    }
    return false;
}

bool arch_space_free(struct space *s)
{
    if (free_one(s, s->arch.root.v, LEVELS - 1))
        return false;
    table_free(s, s->arch.root.v);
    s->arch.root = HPA(0);
    cr3_unmake(s);
    return true;
}

bool hw_entry_read(uint64_t table, unsigned index, unsigned level, struct hw_entry *e)
{
    uint64_t value = decode(table_at(table)[index], level);
    *e = (struct hw_entry){ HPA(address_of(value)), value >> ENTRY_PROT & 7, value & ENTRY_LEAF };
    return value & ENTRY_PRESENT;
}

static uint64_t *entry_make(struct space *s, uint64_t address, unsigned level,
                            enum status *status)
{
    uint64_t *table = table_at(s->arch.root.v);
    for (unsigned l = LEVELS - 1; l > level; l--) {
        uint64_t *e = &table[index_of(address, l)];
        struct hpa frame;
        if (!*e) {
            *status = table_new(s, &frame);
            if (*status != OK)
                return NULL;
            *e = encode(frame.v | ENTRY_PRESENT, l);
        }
        if (decode(*e, l) & ENTRY_LEAF)
            panic("a leaf where a table should be");
        table = table_at(address_of(decode(*e, l)));
    }
    return &table[index_of(address, level)];
}

enum status arch_map(struct space *s, uint64_t address, struct hpa hpa, uint64_t bytes,
                     uint8_t prot, uint64_t *done)
{
    enum status status;
    for (unsigned steps = 0; *done < bytes && steps < PIECE; steps++) {
        unsigned level = 2;
        if (fake.map_hook)
            fake.map_hook(s, address + *done);
        while (level && (!is_aligned((address + *done) | (hpa.v + *done), span(level)) ||
                         bytes - *done < span(level)))
            level--;
        uint64_t *e = entry_make(s, address + *done, level, &status);
        while (e && level && *e)
            e = entry_make(s, address + *done, --level, &status);
        if (!e)
            return status;
        ASSERT(!*e);
        *e = encode((hpa.v + *done) | ENTRY_PRESENT | ENTRY_LEAF | (uint64_t)prot << ENTRY_PROT,
                    level);
        hw_turn();
        *done += span(level);
    }
    return OK;
}

// The entry that ends the walk; its level and decoded value.
static uint64_t *entry_find(struct space *s, uint64_t address, unsigned *level, uint64_t *value)
{
    uint64_t *table = table_at(s->arch.root.v);
    for (unsigned l = LEVELS - 1;; l--) {
        uint64_t *e = &table[index_of(address, l)];
        *value = decode(*e, l);
        *level = l;
        if (!*e || (*value & ENTRY_LEAF) || l == 0)
            return e;
        table = table_at(address_of(*value));
    }
}

bool arch_unmap(struct space *s, uint64_t *at, uint64_t end)
{
    uint64_t value;
    unsigned level;
    for (unsigned steps = 0; *at < end; steps++) {
        if (steps == PIECE)
            return false;
        uint64_t *e = entry_find(s, *at, &level, &value);
        ASSERT(!*e || is_aligned(*at, span(level)));
        *e = 0;
        *at = align_down(*at, span(level)) + span(level);
    }
    return true;
}

bool arch_walk(struct space *s, uint64_t address, struct hpa *hpa, uint8_t *prot, uint64_t *left)
{
    unsigned level;
    uint64_t value, *e = entry_find(s, address, &level, &value);
    if (!*e)
        return false;
    uint64_t offset = address & (span(level) - 1);
    *hpa = HPA(address_of(value) + offset);
    *prot = value >> ENTRY_PROT & 7;
    *left = span(level) - offset;
    return true;
}

// The cursor: an address, and in its low bits how many tables were given for it.
// Each empty entry is an item of its own.
bool arch_space_next(struct space *s, uint64_t *cursor, struct audit_item *item)
{
    uint64_t address = align_down(*cursor, PAGE_SIZE), given = *cursor & 0xfff, e;
    uint64_t *table = table_at(s->arch.root.v);
    unsigned l = LEVELS - 1;
    if (address >= span(LEVELS))
        return false;
    for (;; l--) {
        e = decode(table[index_of(address, l)], l);
        if (!e || (e & ENTRY_LEAF))
            break;
        if (is_aligned(address, span(l)) && LEVELS - 1 - l >= given) {
            *item = (struct audit_item){ HPA(address_of(e)), PAGE_SIZE, true, address, 0 };
            *cursor = address | (LEVELS - l);
            return true;
        }
        table = table_at(address_of(e));
    }
    *item = (struct audit_item){ HPA(address_of(e)), e ? span(l) : 0, false,
                                 align_down(address, span(l)), !e };
    *cursor = item->address + span(l);
    return true;
}
